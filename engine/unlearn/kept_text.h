// Text that must not suffer while something is forgotten: retain text, held in place by a loss, and watched text, only looked at.
//
//   LETHE_ASSIGN_OR_RETURN(KeptText kept, KeptText::Make(model, retain, watch, seed));   // likelihoods under the base model
//   LETHE_ASSIGN_OR_RETURN(double hold, kept.AccumulateHold(model, 16, weight));         // leaves gradients
//   LETHE_RETURN_IF_ERROR(kept.Probe(model));
//   kept.Damage();       // 0.03: some text is 3 % less likely, or watched text 3 % more or less
//
// A probe is a fixed sample of at most kProbe sequences of each set.
// Threads    none. Errors: as ScoreSequences; LibTorch's exceptions from AccumulateHold.
#ifndef LETHE_ENGINE_UNLEARN_KEPT_TEXT_H_
#define LETHE_ENGINE_UNLEARN_KEPT_TEXT_H_

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/model/decoder.h"
#include "engine/seeded_generator.h"
#include "text/sequence.h"

namespace lethe {

class KeptText {
 public:
  static constexpr size_t kProbe = 32;

  // `model` is the base. Empty sets are allowed.
  static absl::StatusOr<KeptText> Make(const Decoder& model, std::span<const Sequence> retain,
                                       std::span<const Sequence> watch, uint64_t seed);

  bool HasRetain() const { return !retain_.empty(); }

  // Adds the gradient of weight * HoldLoss over the next `batch` retain sequences, epoch by epoch in a seeded order; returns the loss
  // before its weight.
  absl::StatusOr<double> AccumulateHold(const Decoder& model, size_t batch, double weight);

  absl::Status Probe(const Decoder& model);
  void Revert();          // to the probe before the last: the step was taken back
  double Damage() const;  // of the last probe, as a share; 0 before the first

 private:
  struct ProbeSet {
    std::vector<Sequence> sequences;
    double before = 0;  // nats a token over the set
    double now = 0;
    double previous = 0;
  };
  static absl::StatusOr<double> NllPerToken(const Decoder& model, const ProbeSet& set);
  static void Sample(std::span<const Sequence> from, SeededGenerator& random, ProbeSet& set);

  std::span<const Sequence> retain_;
  std::vector<std::vector<float>>
      reference_;  // nats of each labelled token of a retain sequence, under the base
  SeededGenerator random_{0};
  std::vector<size_t> order_;
  size_t next_ = 0;
  ProbeSet retain_probe_, watch_probe_;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_UNLEARN_KEPT_TEXT_H_
