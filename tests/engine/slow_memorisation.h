// MA and EL_n as the definition says: one greedy generation a prefix, one whole forward pass a
// token, sets of n-grams. The twin that tests hold the fast algorithm to; it shares nothing with it
// but the model.
#ifndef LETHE_TESTS_ENGINE_SLOW_MEMORISATION_H_
#define LETHE_TESTS_ENGINE_SLOW_MEMORISATION_H_

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "engine/model/decoder.h"
#include "text/sequence.h"

namespace lethe {

struct SlowMemorisation {
  double ma = 0;
  std::map<int64_t, double> el;
  std::vector<int32_t> greedy_next;
  double smallest_margin = 1e9;  // best logit minus second best, over everything that was decided
};

inline std::multiset<std::vector<int32_t>> Grams(const std::vector<int32_t>& x, int64_t n) {
  std::multiset<std::vector<int32_t>> grams;
  for (int64_t k = 0; k + n <= static_cast<int64_t>(x.size()); ++k) {
    grams.insert({x.begin() + k, x.begin() + k + n});
  }
  return grams;
}

inline SlowMemorisation MeasureSlowly(const Decoder& model, const Sequence& sequence,
                                      const std::vector<int64_t>& el_n) {
  c10::InferenceMode inference;
  SlowMemorisation result;
  const std::vector<int32_t>& x = sequence.ids;
  const auto T = static_cast<int64_t>(x.size());
  const int64_t start = std::max<int64_t>(1, sequence.prompt_tokens);
  std::map<int64_t, double> sums;
  std::map<int64_t, int64_t> terms;
  int64_t hits = 0;
  for (int64_t i = 1; i < T; ++i) {
    std::vector<int64_t> text(x.begin(), x.begin() + i);
    while (static_cast<int64_t>(text.size()) < T) {
      const at::Tensor hidden = model.Hidden(at::tensor(text, at::kLong).unsqueeze(0));
      const at::Tensor logits =
          at::mm(hidden.narrow(0, hidden.size(0) - 1, 1), model.OutputWeight().t())[0];
      const auto [values, places] = logits.topk(2);
      result.smallest_margin =
          std::min(result.smallest_margin, (values[0] - values[1]).item<double>());
      text.push_back(places[0].item<int64_t>());
    }
    const std::vector<int32_t> generated(text.begin() + i, text.end()),
        label(x.begin() + i, x.end());
    result.greedy_next.push_back(generated[0]);
    if (i < start) continue;
    hits += generated[0] == label[0];
    for (const int64_t n : el_n) {
      const auto wanted = Grams(label, n);
      if (wanted.empty()) continue;
      int64_t found = 0;
      for (const auto& gram : Grams(generated, n)) found += wanted.count(gram) > 0;
      sums[n] += static_cast<double>(found) / static_cast<double>(wanted.size());
      ++terms[n];
    }
  }
  result.ma = static_cast<double>(hits) / static_cast<double>(T - start);
  for (const auto& [n, sum] : sums) result.el[n] = sum / static_cast<double>(terms[n]);
  return result;
}

}  // namespace lethe

#endif  // LETHE_TESTS_ENGINE_SLOW_MEMORISATION_H_
