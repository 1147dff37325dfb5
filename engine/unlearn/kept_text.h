// Text that must not suffer while something is forgotten: retain text, held in place by a loss, and
// watched text, only looked at.
//
//   LETHE_ASSIGN_OR_RETURN(KeptText kept, KeptText::Make(model, retain, watch, seed));
//   kept.Draw(16);                                                       // once a step
//   LETHE_ASSIGN_OR_RETURN(std::vector<StepPart> hold, kept.HoldParts(model, weight));
//   LETHE_RETURN_IF_ERROR(kept.Probe(model));
//   kept.Damage();   // 0.03: some text has 3 % more nats a token, or watched text 3 % less
//
// Precision  all is measured as the model computes. Where that is bf16, a stop is decided by
//            ExactDamage, which is fp32.
// Make measures the likelihoods under the base model. A probe is a fixed sample of at most kProbe
// sequences of each set.
// Threads    none.
// Errors     as ScoreSequences; FAILED_PRECONDITION/METHOD_DIVERGED when a probe is not finite;
//            CANCELLED/STOPPED from Make; LibTorch's exceptions from the parts.
#ifndef LETHE_ENGINE_UNLEARN_KEPT_TEXT_H_
#define LETHE_ENGINE_UNLEARN_KEPT_TEXT_H_

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/catalog.h"
#include "engine/loss/sequence_loss.h"
#include "engine/model/decoder.h"
#include "engine/progress.h"
#include "engine/seeded_generator.h"
#include "engine/train/step_part.h"
#include "text/sequence.h"

namespace lethe {

class KeptText {
 public:
  static constexpr size_t kProbe = kProbeSequences;

  // `model` is the base. Empty sets are allowed.
  static absl::StatusOr<KeptText> Make(const Decoder& model, std::span<const Sequence> retain,
                                       std::span<const Sequence> watch, uint64_t seed,
                                       const ProgressCallback& progress = nullptr,
                                       Ranks* ranks = nullptr);

  bool HasRetain() const { return !retain_.empty(); }

  // Takes the next `batch` retain sequences, epoch by epoch in a seeded order.
  void Draw(size_t batch);
  // A step's parts with the gradient of weight * HoldLoss over what was drawn last; what they report
  // is the loss before its weight. With options.ranks both are this rank's share. The model outlives
  // them.
  absl::StatusOr<std::vector<StepPart>> HoldParts(const Decoder& model, double weight,
                                                  BatchOptions options = {}) const;

  absl::Status Probe(const Decoder& model);
  void Revert();  // to the probe before the last: the step was taken back
  // Of the last probe, as shares; 0 before the first.
  double Rise() const;    // of the retain text's nats a token: what a firmer hold can mend; 0: none
  double Damage() const;  // that, or what watched text has moved either way; the larger
  // Damage() as the model now is, in fp32; of the last probe where that was in fp32.
  absl::StatusOr<double> ExactDamage(const Decoder& model) const;

 private:
  struct ProbeSet {
    std::vector<Sequence> sequences;
    double before = 0;          // nats a token over the set
    double exactly_before = 0;  // in fp32
    double now = 0;
    double previous = 0;
  };
  absl::StatusOr<double> NllPerToken(const Decoder& model, const ProbeSet& set) const;
  static double Share(double before, double now);  // by how much it rose
  static void Sample(std::span<const Sequence> from, SeededGenerator& random, ProbeSet& set);

  Ranks* ranks_ = nullptr;  // who shares the measurements
  std::span<const Sequence> retain_;
  // Nats of each labelled token of a retain sequence, under the base.
  std::vector<std::vector<float>> reference_;
  SeededGenerator random_{0};
  std::vector<size_t> order_;
  size_t next_ = 0;
  std::vector<size_t> drawn_;
  ProbeSet retain_probe_, watch_probe_;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_UNLEARN_KEPT_TEXT_H_
