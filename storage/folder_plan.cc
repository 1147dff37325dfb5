#include "storage/folder_plan.h"

#include <algorithm>
#include <filesystem>

#include "base/model_layout.h"
#include "base/status.h"
#include "storage/command/outcomes.h"
#include "storage/state/corpus_state.h"

namespace lethe::storage {
namespace {

std::string LastName(const std::string& path) { return std::filesystem::path(path).filename(); }

}  // namespace

absl::StatusOr<FolderPlan> PlanFolder(const Snapshot& snapshot, const ModelId& model) {
  FolderPlan plan;
  LETHE_ASSIGN_OR_RETURN(plan.model, snapshot.GetModel(model));
  LETHE_ASSIGN_OR_RETURN(lethe::v1::ModelPolicy policy, PolicyOf(plan.model));
  const size_t keep = policy.has_retired_checkpoints_kept()
                          ? static_cast<size_t>(std::max(0, policy.retired_checkpoints_kept()))
                          : 1;
  if (!plan.model.current_checkpoint_id().empty()) {
    plan.current = CurrentTarget(CheckpointId{plan.model.current_checkpoint_id()});
    plan.data.insert(LastName(plan.model.data_folder()));
  }
  // Of one that FAILED nothing is kept: its lines are personal data.
  if (const auto state = static_cast<CorpusState>(plan.model.corpus().state());
      state != CorpusState::kNone && state != CorpusState::kFailed) {
    plan.corpora.insert(plan.model.corpus().job_id());
  }
  LETHE_ASSIGN_OR_RETURN(std::vector<CheckpointId> ids, snapshot.CheckpointsOf(model));
  std::vector<CheckpointRecord> retired;
  for (const CheckpointId& id : ids) {
    LETHE_ASSIGN_OR_RETURN(CheckpointRecord c, snapshot.GetCheckpoint(id));
    if (c.folder_removed()) continue;
    const auto state = static_cast<CheckpointState>(c.state());
    if (state == CheckpointState::kRejected) {
      plan.expendable.push_back(id);
    } else if (state == CheckpointState::kRetired) {
      retired.push_back(std::move(c));
    } else {
      plan.required.insert(id.value);
    }
  }
  std::sort(retired.begin(), retired.end(),
            [](const CheckpointRecord& a, const CheckpointRecord& b) {
              return a.generation() > b.generation();
            });
  for (size_t i = 0; i < retired.size(); ++i) {
    if (i < keep) {
      plan.required.insert(retired[i].checkpoint_id());
    } else {
      plan.expendable.push_back(CheckpointId{retired[i].checkpoint_id()});
    }
  }
  plan.checkpoints = plan.required;
  // What a verifier has kept serves the next one, until the job is over.
  for (const JobState open : {JobState::kReady, JobState::kLeased}) {
    LETHE_ASSIGN_OR_RETURN(std::vector<JobId> jobs, snapshot.JobsInState(open));
    for (const JobId& id : jobs) {
      LETHE_ASSIGN_OR_RETURN(JobRecord job, snapshot.GetJob(id));
      if (job.model_id() != model.value) continue;
      if (job.kind() != static_cast<int32_t>(JobKind::kVerify)) continue;
      plan.incoming.insert(LastName(KeptWorkFolder(model, id)));
    }
  }
  // Whoever holds a lease may be writing, or have published what it has not yet handed in.
  LETHE_ASSIGN_OR_RETURN(std::vector<JobId> leased, snapshot.JobsInState(JobState::kLeased));
  for (const JobId& id : leased) {
    LETHE_ASSIGN_OR_RETURN(JobRecord job, snapshot.GetJob(id));
    if (job.model_id() != model.value) continue;
    plan.incoming.insert(LastName(IncomingFolder(model, id, Fence{job.fence()})));
    if (!MakesCheckpoint(static_cast<JobKind>(job.kind()))) continue;
    plan.checkpoints.insert(job.candidate_checkpoint_id());
    if (job.kind() == static_cast<int32_t>(JobKind::kPrepare)) {
      plan.data.insert(job.candidate_checkpoint_id());
    }
  }
  return plan;
}

}  // namespace lethe::storage
