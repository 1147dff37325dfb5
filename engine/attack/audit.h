// What the two sides of an audit share: its plan, and where their figures go.
//
//   LETHE_ASSIGN_OR_RETURN(Audit audit, MakeAudit(request));
//   LETHE_RETURN_IF_ERROR(RunSide(audit, Side::kBefore, progress));   // audit_side.h
//   LETHE_RETURN_IF_ERROR(RunSide(audit, Side::kAfter, progress));
//   AttackReport report = TakeReport(std::move(audit));
//
// A row is an attack in a condition. A part is what one model of the condition is attacked on:
// nearly always everything; under relearned-half there are two models, each attacked on the half
// that it was not taught.
// Threads    one at a time.
// Errors     MakeAudit: INVALID_ARGUMENT as RunAttacks says.
#ifndef LETHE_ENGINE_ATTACK_AUDIT_H_
#define LETHE_ENGINE_ATTACK_AUDIT_H_

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "engine/attack.h"
#include "engine/attack/attack_table.h"
#include "engine/condition.h"
#include "text/tokenizer.h"

namespace lethe {

enum class Side { kBefore, kAfter };

inline std::vector<double> BeforeAfter::*FiguresOf(Side side) {
  return side == Side::kBefore ? &BeforeAfter::before : &BeforeAfter::after;
}

struct AuditRow {
  AttackOutcome outcome;  // names and parameters at first; the sides add their figures
  ModelCondition condition;
  AttackFunction attack = nullptr;
  std::string left_out;  // not empty: why
};

// Which of the request's sequences one model is attacked on.
struct Aim {
  std::vector<size_t> forgotten;
  std::vector<size_t> control;
};

// What one attack gave on one model. The lists go with the aim's.
struct PartResult {
  struct Detail {
    std::vector<double> forgotten, control;
  };
  std::vector<double> forgotten, control;
  std::map<std::string, Detail> details;
  int64_t forward_tokens = 0;  // all that it is charged with
  int64_t shared_tokens = 0;   // of these, for what later attacks on the same model read, too
  double seconds = 0;
  std::string not_applicable;  // not empty: why; nothing else is set then
};

struct Audit {
  const AttackRequest& request;
  std::optional<Tokenizer> tokenizer;      // the base folder's, if it has one
  AttackReport report;                     // without its attacks
  std::vector<AuditRow> rows;              // in the order of the plan
  std::map<Relearned, double> step_sizes;  // that the base has chosen
};

// The request must outlive it.
absl::StatusOr<Audit> MakeAudit(const AttackRequest& request);
// Points into the audit.
AttackContext ContextOf(const Audit& audit);

// Aim at everything.
Aim WholeAim(const AttackRequest& request);
// Says what each row is expected to cost; rows beyond the request's budget are left out, from the
// plan's end.
void SetBudget(Audit& audit);

// Puts a part's figures at their places. A part that is not applicable leaves the row out as a
// whole.
void Place(const PartResult& part, const Aim& aim, Side side, const AttackRequest& request,
           AuditRow& row);

AttackReport TakeReport(Audit audit);

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_AUDIT_H_
