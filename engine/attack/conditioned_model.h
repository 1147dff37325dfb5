// A model in its condition and the sequences that it is attacked on: all attacks of the condition
// share one teacher-forced pass over them.
//
//   ConditionedModel target(model, audit, aim);
//   LETHE_ASSIGN_OR_RETURN(PartResult result, target.Attack(row, charged, progress));
//   charged += result.shared_tokens;
//
// Control    is attacked in parts of 32, between which the caller may stop the run. Each part keeps
//            its pass (some bytes a token), so that attacks come one after the other and each can
//            be kept when it is done.
// Cost       the pass is charged to the first attack that reads it. `charged` says what attacks
//            before it were charged with, those of an earlier run that was stopped among them.
// Lifetime   model and audit must outlive it. Threads: one at a time.
// Errors     as the attacks; CANCELLED/STOPPED.
#ifndef LETHE_ENGINE_ATTACK_CONDITIONED_MODEL_H_
#define LETHE_ENGINE_ATTACK_CONDITIONED_MODEL_H_

#include <deque>
#include <vector>

#include "engine/attack/audit.h"
#include "engine/attack/teacher_forced.h"
#include "engine/progress.h"

namespace lethe {

class ConditionedModel {
 public:
  ConditionedModel(const LanguageModel& model, const Audit& audit, const Aim& aim);
  ConditionedModel(const ConditionedModel&) = delete;
  ConditionedModel& operator=(const ConditionedModel&) = delete;

  absl::StatusOr<PartResult> Attack(const AuditRow& row, int64_t charged,
                                    const ProgressCallback& progress);

  // Nats a token, on the spans where the audit is.
  absl::StatusOr<std::vector<double>> ForgottenNll();
  absl::StatusOr<std::vector<double>> ControlNll();
  // Mean share of first choices that are the forgotten text's.
  absl::StatusOr<double> ForgottenHitRate();
  int64_t ReadTokens() const;  // of the passes so far

 private:
  struct Part {
    std::span<const Sequence> sequences;
    TeacherForced forced;
    std::vector<double> base_nll;  // of each sequence, as ForgottenNll; empty: not known yet
  };
  absl::StatusOr<AttackScores> Run(const AuditRow& row, Part& part);
  absl::StatusOr<AttackScores> RunOnControl(const AuditRow& row, const ProgressCallback& progress);
  absl::Status AddNll(Part& part, std::vector<double>& nll) const;

  const LanguageModel& model_;
  const Audit& audit_;
  const AttackContext context_;
  const std::vector<Sequence> forgotten_, control_;
  std::deque<Part> parts_;  // the first is the forgotten text, the others control
};

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_CONDITIONED_MODEL_H_
