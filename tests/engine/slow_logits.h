// Logits in float64 by whole passes: the slow twin of what LanguageModel says. Of an ensemble, the
// logarithm of the mean of its members' softmax, written down as it is defined.
#ifndef LETHE_TESTS_ENGINE_SLOW_LOGITS_H_
#define LETHE_TESTS_ENGINE_SLOW_LOGITS_H_

#include <ATen/ATen.h>

#include "engine/model/decoder.h"
#include "engine/model/language_model.h"

namespace lethe {

// ids (B,T) -> (B*T,V)
inline at::Tensor SlowLogits(const LanguageModel& model, const at::Tensor& ids) {
  const auto of_member = [&](const Decoder& member) {
    const at::Tensor weight = member.OutputWeight().detach().to(at::kDouble);
    return at::mm(member.HiddenInDouble(ids), weight.t());
  };
  const auto members = model.Members();
  if (members.size() == 1) return of_member(*members.front());
  at::Tensor sum;
  for (const Decoder* member : members) {
    const at::Tensor p = of_member(*member).softmax(1);
    sum = sum.defined() ? sum + p : p;
  }
  return (sum / static_cast<double>(members.size())).log();
}

}  // namespace lethe

#endif  // LETHE_TESTS_ENGINE_SLOW_LOGITS_H_
