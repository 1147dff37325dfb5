// What models that never saw a sequence say at each of its tokens: the mean of the teachers' own
// distributions, worked out once, before a run begins.
//
//   LETHE_ASSIGN_OR_RETURN(std::vector<SequenceTargets> targets,
//                          MakeTeacherTargets(teachers, forget, {.kept = 256}, progress));
//   const SoftLabels labels = LabelsOf(batch, targets, Towards::kDistribution);   // soft_loss.h
//
// Formula    q_t = 1/|J| sum_{j in J} p_j(. | s_<t), J the teachers that did not see s (Liu &
//            Kalinli, ICASSP 2024): a mean of probabilities, not of logits. With one teacher left it
//            is plain distillation. Sums are fp32, in the order of the teachers.
// Kept       of each distribution the `kept` likeliest tokens, the text's own token always among
//            them (in place of the least, where it would not be), and the mass of the rest.
//            soft_loss.h has the error of that. Its own token is kept because the rest is one bucket:
//            in it a student could hide a secret at up to all of the rest's mass. 0, or the size of the
//            vocabulary: all of it, exactly.
// Memory     the likeliest tokens of a mean are not known before all teachers have spoken, so whole
//            distributions of T tokens stand until then, 4 V T bytes. Sequences go in groups that
//            keep to `row_bytes`, and each group loads every teacher again, one at a time. Nothing
//            goes to disk: these rows tell the text. Then remain 8 k + 24 bytes a token, or 4 V.
// Cost       each teacher reads each sequence that it teaches once, without gradients: about a third
//            of a training step by it. Reading 4 P bytes of weights again for each group is worth
//            the reading of a few hundred tokens, whatever P is: under a tenth of a group of 1 GiB,
//            5,000 tokens at a vocabulary of 50,000.
// Same       inputs give the same bits on a CPU with the same number of threads. A teacher that is
//            left out of a sequence has no part in its numbers at all.
// Ranks      each works them out for itself.
// Threads    none.
// Errors     as TeacherSet::Load and MakeBatches; FAILED_PRECONDITION/MODEL_NOT_FINITE when a
//            teacher gives NaN or infinity (metadata "teacher"); CANCELLED/STOPPED;
//            RESOURCE_EXHAUSTED/OUT_OF_MEMORY.
#ifndef LETHE_ENGINE_ENSEMBLE_TEACHER_TARGETS_H_
#define LETHE_ENGINE_ENSEMBLE_TEACHER_TARGETS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/ensemble/teacher_set.h"
#include "engine/loss/soft_loss.h"
#include "engine/progress.h"
#include "text/sequence.h"

namespace lethe {

struct TargetOptions {
  int64_t kept = 256;
  int64_t row_bytes = int64_t{1} << 30;
  int64_t max_tokens = kMicroBatchTokens;  // that a teacher reads at a time
  uint64_t seed = 0;                       // of SequenceTargets::drawn
};

// One sequence's; a row for each labelled token (Labels::kAnswer), in the host's memory.
struct SequenceTargets {
  at::Tensor ids;            // (T,k) int32; (T,0) where all are kept
  at::Tensor probabilities;  // (T,k) fp32
  at::Tensor rest;           // (T) fp32
  at::Tensor entropy;        // (T) fp32: of the kept entries and the rest as one, nats
  at::Tensor own;            // (T) fp32: log q of the text's own token
  at::Tensor likeliest;      // (T) int32
  at::Tensor drawn;          // (T) int32: one draw from q; the seed and the text decide it

  int64_t Rows() const { return rest.size(0); }
  SequenceTargets At(std::span<const size_t> rows) const;  // these alone
};

absl::StatusOr<std::vector<SequenceTargets>> MakeTeacherTargets(
    const TeacherSet& teachers, std::span<const Sequence> sequences, const TargetOptions& options,
    const ProgressCallback& progress = nullptr);

// What a student is trained towards.
enum class Towards {
  kDistribution,
  kLikeliest,  // hard labels: the ensemble's first choice, ...
  kDrawn,      // ... or one draw from it
};

// Of a batch of these sequences, `targets` in their order, rows those that the batch has labelled.
SoftLabels LabelsOf(const LossBatch& batch, std::span<const SequenceTargets> targets,
                    Towards towards);

}  // namespace lethe

#endif  // LETHE_ENGINE_ENSEMBLE_TEACHER_TARGETS_H_
