// How far a student is from what its teachers say of the sequences to be forgotten.
//
//   TargetDistance distance(aims, ranks);
//   LETHE_RETURN_IF_ERROR(state.Measure(model, distance.Hooks(model)));   // one pass for both
//   LETHE_RETURN_IF_ERROR(distance.Share());
//   distance.MeanKl();   distance.worst_passage();
//
// Figures    kl       mean over a sequence's aimed tokens of KL(q_t | p_t), nats: of the entries that
//                     were kept and the rest as one (soft_loss.h)
//            passage  the largest of sum_{t=a..b} log p_t(x_t) - log q_t(x_t) over all passages a..b
//                     of neighbouring aimed tokens: no passage of the text, however it is chosen, is
//                     more than e^passage times as likely under the student as under the teachers
// Threads    none.
// Errors     as ScoreSequences; FAILED_PRECONDITION/METHOD_DIVERGED when a figure is not finite.
#ifndef LETHE_ENGINE_UNLEARN_TARGET_DISTANCE_H_
#define LETHE_ENGINE_UNLEARN_TARGET_DISTANCE_H_

#include <cstddef>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/ensemble/teacher_targets.h"
#include "engine/loss/sequence_loss.h"
#include "engine/model/decoder.h"
#include "text/sequence.h"

namespace lethe {

// A sequence and the tokens of it that a student is to learn the teachers' words at.
struct DistillationAim {
  Sequence sequence;            // its sensitive spans are those tokens; none: all of them
  std::vector<size_t> entries;  // the same, as places among its labelled tokens; ascending
  SequenceTargets targets;      // a row for each entry
};

class TargetDistance {
 public:
  explicit TargetDistance(std::span<const DistillationAim> aims, Ranks* ranks = nullptr)
      : aims_(aims), ranks_(ranks), now_(aims.size()), previous_(aims.size()) {}

  // For a pass over the aims' sequences, in their order, with Labels::kAnswer.
  ScoreHooks Hooks(const Decoder& model);
  absl::Status Share();                        // behind the pass: what other ranks have read
  absl::Status Measure(const Decoder& model);  // such a pass of its own
  void Revert() { now_ = previous_; }          // the step was taken back

  double MeanKl() const;
  double WorstKl() const;
  double WorstPassage() const;

 private:
  struct Figures {
    double kl = 0;
    double passage = 0;
    bool read = false;  // by this rank, in this pass
  };
  void Read(const Decoder& model, const LossBatch& batch, const at::Tensor& hidden,
            std::span<const SequenceScore> scores);

  const std::span<const DistillationAim> aims_;
  Ranks* const ranks_;
  std::vector<Figures> now_, previous_;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_UNLEARN_TARGET_DISTANCE_H_
