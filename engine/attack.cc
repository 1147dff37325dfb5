#include "engine/attack.h"

#include <chrono>
#include <set>

#include "engine/attack/audit.h"
#include "engine/attack/audit_side.h"
#include "engine/attack/quantise.h"
#include "engine/attack/resume.h"
#include "engine/checkpoint/checkpoint_folder.h"
#include "engine/checkpoint/ensemble_folder.h"
#include "engine/metric/ngram_reference.h"
#include "engine/model/model_folder.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

using SteadyClock = std::chrono::steady_clock;

double SecondsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

// The folder itself, or an ensemble's members.
absl::StatusOr<std::vector<CheckpointFolder>> OpenMembers(const std::filesystem::path& path) {
  std::vector<CheckpointFolder> folders;
  if (!IsEnsemble(path)) {
    LETHE_ASSIGN_OR_RETURN(CheckpointFolder folder, CheckpointFolder::Open(path));
    folders.push_back(std::move(folder));
    return folders;
  }
  LETHE_ASSIGN_OR_RETURN(const EnsembleFolder ensemble, EnsembleFolder::Open(path));
  for (size_t i = 0; i < ensemble.members().size(); ++i) {
    absl::StatusOr<CheckpointFolder> member = CheckpointFolder::Open(ensemble.members()[i].path);
    if (!member.ok()) return OfMember(member.status(), i);
    folders.push_back(*std::move(member));
  }
  return folders;
}

// For each quantised condition of the plan, in its order.
absl::Status CompareCodes(Audit& audit) {
  std::set<std::string> done;
  for (const AuditRow& row : audit.rows) {
    const ModelCondition& condition = row.condition;
    if (condition.kind != ModelCondition::Kind::kQuantised || !row.left_out.empty()) continue;
    if (!done.insert(condition.Name()).second) continue;
    LETHE_ASSIGN_OR_RETURN(const std::vector<CheckpointFolder> base,
                           OpenMembers(audit.request.base_folder));
    LETHE_ASSIGN_OR_RETURN(const std::vector<CheckpointFolder> candidate,
                           OpenMembers(audit.request.candidate_folder));
    // An ensemble and a decoder have no weights in common.
    if (base.size() != candidate.size()) return absl::OkStatus();
    LETHE_ASSIGN_OR_RETURN(
        const double share,
        ShareOfChangedCodes(base, candidate, {.bits = condition.bits, .group = condition.group}));
    audit.report.code_changes.push_back({condition.Name(), share});
  }
  return absl::OkStatus();
}

// How alike forgotten text and control are, to something that has seen neither.
absl::Status AddReference(const AttackContext& context, AttackReport& report,
                          const AttackRequest& request) {
  if (context.kept.empty()) return absl::OkStatus();
  LETHE_ASSIGN_OR_RETURN(const ModelLimits limits, ReadModelLimits(request.base_folder));
  const NgramReference reference(context.kept, limits.vocab_size);
  for (const Sequence& s : context.forgotten) {
    report.forgotten_reference_nll.push_back(reference.MeanNll(s, report.on_spans));
  }
  for (const Sequence& s : context.control) {
    report.control_reference_nll.push_back(reference.MeanNll(s, report.on_spans));
  }
  return absl::OkStatus();
}

absl::StatusOr<AttackReport> LoadAndAttack(const AttackRequest& request,
                                           const ProgressCallback& progress) {
  const auto start = SteadyClock::now();
  LETHE_ASSIGN_OR_RETURN(Audit audit, MakeAudit(request));
  SetBudget(audit);
  LETHE_RETURN_IF_ERROR(Report(progress, {"loading", 0, 0, {}}));
  LETHE_RETURN_IF_ERROR(CheckDigest(request.base_folder, request.base_digest, "BASE_CHANGED"));
  LETHE_RETURN_IF_ERROR(
      CheckDigest(request.candidate_folder, request.candidate_digest, "CANDIDATE_CHANGED"));
  // One model after the other: two never stand in memory.
  for (const Side side : {Side::kBefore, Side::kAfter}) {
    LETHE_ASSIGN_OR_RETURN(const std::string binding, BindingOf(audit, side));
    const ResumeFolder kept(request.resume_folder, binding);
    LETHE_RETURN_IF_ERROR(RunSide(audit, side, kept, progress));
  }
  LETHE_RETURN_IF_ERROR(CompareCodes(audit));
  LETHE_RETURN_IF_ERROR(AddReference(ContextOf(audit), audit.report, request));
  AttackReport report = TakeReport(std::move(audit));
  report.run = NewRunRecord(request.device);
  report.run.method = "attacks";
  report.run.seed = request.seed;
  const std::span<const Sequence> sets[] = {request.forgotten, request.control};
  report.run.data_digest = DataDigest(request.digest_key, sets);
  report.run.seconds = SecondsSince(start);
  return report;
}

}  // namespace

std::vector<AttackSpec> PlanOf(std::string_view name) {
  std::vector<AttackSpec> plan;
  const PlanEntry* entry = FindPlan(name);
  if (entry == nullptr) return plan;
  for (const PlanRow& row : entry->rows) {
    plan.push_back({.attack = std::string(row.attack),
                    .condition = std::string(row.condition),
                    .report_only = row.report_only});
  }
  return plan;
}

std::vector<AttackSpec> DefaultPlan() { return PlanOf(Plans().front().name); }

absl::StatusOr<std::vector<ExpectedAttack>> ExpectAttacks(const AttackRequest& request) {
  LETHE_ASSIGN_OR_RETURN(Audit audit, MakeAudit(request));
  SetBudget(audit);
  std::vector<ExpectedAttack> expected;
  for (const AuditRow& row : audit.rows) {
    expected.push_back({.attack = row.outcome.attack,
                        .condition = row.outcome.condition,
                        .forward_tokens = row.outcome.expected_forward_tokens,
                        .left_out = !row.left_out.empty()});
  }
  return expected;
}

absl::StatusOr<AttackReport> RunAttacks(const AttackRequest& request,
                                        const ProgressCallback& progress) {
  return CatchTorch("attacking", [&] { return LoadAndAttack(request, progress); });
}

}  // namespace lethe
