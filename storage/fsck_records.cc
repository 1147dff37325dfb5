// fsck: what records say of each other.
#include <algorithm>
#include <set>

#include "base/model_layout.h"
#include "lethe/v1/model.pb.h"
#include "lethe/v1/ticket.pb.h"
#include "storage/command/outcomes.h"
#include "storage/fsck_internal.h"
#include "storage/state/corpus_state.h"

namespace lethe::storage {
namespace {

template <typename Record>
const Record* Lookup(const std::map<std::string, Record>& table, const std::string& id) {
  auto it = table.find(id);
  return it == table.end() ? nullptr : &it->second;
}

bool IsActive(const JobRecord& job) { return !IsFinal(static_cast<JobState>(job.state())); }

template <typename List>
bool Contains(const List& list, const std::string& id) {
  return std::find(list.begin(), list.end(), id) != list.end();
}

void CheckTicketPayload(const Everything& all, const TicketRecord& t, Findings* out) {
  const std::string& id = t.ticket_id();
  const bool final = IsFinal(static_cast<TicketState>(t.state()));
  const bool payload = all.payloads.contains(id), key = all.keys.contains(id);
  if (final && (payload || key))
    out->Error("PAYLOAD_LEFT", id + " has ended, its text or key has not");
  if (!final && !(payload && key))
    out->Error("PAYLOAD_MISSING", id + " is open without text or key");
  if (final != t.payload_destroyed() || final != (t.end_us() != 0)) {
    out->Error("TICKET_INCONSISTENT", id + ": end time or payload flag do not fit its state");
  }
  if (final && !t.request_digest().empty()) {
    out->Error("DIGEST_LEFT", id + " has ended, the digest of its text has not");
  }
}

JobKind JobOf(TicketState in_job) {
  if (in_job == TicketState::kUnlearning) return JobKind::kUnlearn;
  return in_job == TicketState::kErasing ? JobKind::kRetrain : JobKind::kVerify;
}

void CheckTicketJob(const Everything& all, const TicketRecord& t, Findings* out) {
  const std::string& id = t.ticket_id();
  const auto state = static_cast<TicketState>(t.state());
  const JobRecord* job = Lookup(all.jobs, t.job_id());
  if (!t.job_id().empty() && job == nullptr)
    out->Error("JOB_DANGLING", id + " names job " + t.job_id());
  if (IsInJob(state)) {
    const JobKind want = JobOf(state);
    if (job == nullptr || !IsActive(*job) || job->kind() != static_cast<int32_t>(want) ||
        !Contains(job->ticket_ids(), id)) {
      out->Error("TICKET_STRANDED",
                 id + " is " + std::string(Name(state)) + " without an active job that serves it");
    }
    if (t.held()) out->Error("HOLD_IGNORED", id + " is under a hold and in a job");
  }
  if (state == TicketState::kCompleted || state == TicketState::kErasing) {
    const CheckpointRecord* c = Lookup(all.checkpoints, t.checkpoint_id());
    if (c == nullptr || !Contains(c->ticket_ids(), id) || c->generation() == 0) {
      out->Error("COMPLETED_WITHOUT_PROMOTION",
                 id + " is " + std::string(Name(state)) + ", but no promoted checkpoint serves it");
    }
    const bool judged = t.reason() == lethe::v1::TICKET_REASON_FORGOTTEN && t.report_ids_size() > 0;
    if (!judged && t.reason() != lethe::v1::TICKET_REASON_OVERRIDDEN) {
      out->Error("COMPLETED_WITHOUT_REPORT",
                 id + " is " + std::string(Name(state)) + " without report or override");
    }
  } else if (!t.checkpoint_id().empty()) {
    out->Error("TICKET_INCONSISTENT", id + " names a checkpoint that was not promoted for it");
  }
  if ((t.corpus_sequences() > 0) != (t.corpus_shards_size() > 0)) {
    out->Error("TICKET_INCONSISTENT", id + ": what it erases of the corpus has no place");
  }
}

}  // namespace

void CheckTickets(const Everything& all, Findings* out) {
  std::set<uint64_t> places;
  for (const auto& [id, t] : all.tickets) {
    const auto state = static_cast<TicketState>(t.state());
    if (t.ticket_id() != id || Name(state) == "UNKNOWN" || state == TicketState::kNone) {
      out->Error("TICKET_CORRUPT", id + " has another id or an unknown state");
      continue;
    }
    CheckTicketPayload(all, t, out);
    CheckTicketJob(all, t, out);
    const ModelRecord* model = Lookup(all.models, t.model_id());
    if (model == nullptr) {
      out->Error("MODEL_DANGLING", id + " names model " + t.model_id());
    } else if (auto policy = PolicyOf(*model); policy.ok() && t.rung() >= policy->ladder_size()) {
      out->Error("RUNG_UNKNOWN", id + " stands on a rung that the ladder lacks");
    }
    for (const std::string& report : t.report_ids()) {
      if (!all.reports.contains(report))
        out->Error("REPORT_DANGLING", id + " names report " + report);
    }
    if (state == TicketState::kQueued &&
        (t.queue_seq() == 0 || t.queue_seq() > all.counters.queue_seq())) {
      out->Error("QUEUE_PLACE", id + " has no place in the queue that was ever given");
    }
    if (t.queue_seq() != 0 && !places.insert(t.queue_seq()).second) {
      out->Error("QUEUE_PLACE", id + " shares its place in the queue");
    }
  }
  for (const auto& [id, p] : all.payloads) {
    if (!all.tickets.contains(id)) out->Error("PAYLOAD_ORPHAN", "text without a ticket: " + id);
  }
  for (const auto& [id, k] : all.keys) {
    if (!all.tickets.contains(id)) out->Error("KEY_ORPHAN", "a key without a ticket: " + id);
  }
  for (const auto& [key, r] : all.requests) {
    const TicketRecord* t = Lookup(all.tickets, r.ticket_id());
    if (t == nullptr || t->request_key() != key) {
      out->Error("REQUEST_DANGLING", "an idempotency key names " + r.ticket_id());
    }
  }
}

namespace {

void CheckJobTickets(const Everything& all, const JobRecord& j, Findings* out) {
  const std::string& id = j.job_id();
  const auto kind = static_cast<JobKind>(j.kind());
  if (ServesTickets(kind) != (j.ticket_ids_size() > 0)) {
    out->Error("JOB_INCONSISTENT", id + ": its tickets do not fit its kind");
  }
  const bool trains = kind == JobKind::kTrain || kind == JobKind::kRetrain;
  if (trains != (j.shards_size() > 0)) {
    out->Error("JOB_INCONSISTENT", id + ": its shards do not fit its kind");
  }
  for (const std::string& ticket : j.ticket_ids()) {
    const TicketRecord* t = Lookup(all.tickets, ticket);
    if (t == nullptr || t->model_id() != j.model_id()) {
      out->Error("TICKET_DANGLING", id + " names ticket " + ticket);
    } else if (IsActive(j) &&
               (t->job_id() != id || !IsInJob(static_cast<TicketState>(t->state())))) {
      out->Error("JOB_STRANDED", id + " is active, but its ticket " + ticket + " is elsewhere");
    }
  }
}

void CheckJobCheckpoints(const Everything& all, const JobRecord& j, Findings* out) {
  const std::string& id = j.job_id();
  const auto kind = static_cast<JobKind>(j.kind());
  const auto state = static_cast<JobState>(j.state());
  const CheckpointRecord* made = Lookup(all.checkpoints, j.candidate_checkpoint_id());
  if (ServesTickets(kind) && !all.checkpoints.contains(j.base_checkpoint_id())) {
    out->Error("CHECKPOINT_DANGLING", id + " works on " + j.base_checkpoint_id());
  }
  const bool made_one = MakesCheckpoint(kind) && state == JobState::kSucceeded;
  if ((kind == JobKind::kVerify || made_one) && made == nullptr) {
    out->Error("CHECKPOINT_DANGLING", id + " names candidate " + j.candidate_checkpoint_id());
    return;
  }
  if (kind == JobKind::kVerify) {
    const bool open = made->state() == static_cast<int32_t>(CheckpointState::kCandidate);
    if (open != IsActive(j)) {
      out->Error("CANDIDATE_STRANDED", id + " and its candidate " + made->checkpoint_id() +
                                           " do not agree whether it is judged");
    }
    if (state == JobState::kSucceeded && !all.reports.contains(j.report_id())) {
      out->Error("REPORT_DANGLING", id + " names report " + j.report_id());
    }
  }
}

}  // namespace

namespace {

// INGEST and TRAIN: the model's corpus waits for them, or for none.
void CheckBesideModel(const ModelRecord& model, const JobRecord& j, Findings* out) {
  const CorpusRecord& corpus = model.corpus();
  bool awaited = false;
  if (j.kind() == static_cast<int32_t>(JobKind::kIngest)) {
    awaited = corpus.job_id() == j.job_id() &&
              corpus.state() == static_cast<int32_t>(CorpusState::kReading);
  } else if (j.shards_size() == 1 && j.shards(0) >= 0 && j.shards(0) < corpus.shards_size()) {
    const TeacherRecord& teacher = corpus.shards(j.shards(0));
    awaited = teacher.job_id() == j.job_id() &&
              teacher.state() == static_cast<int32_t>(TeacherState::kWaiting);
  }
  if (awaited != IsActive(j)) {
    out->Error("CORPUS_JOB",
               j.job_id() + " and its model's corpus do not agree whether it is awaited");
  }
}

void CheckCorpus(const Everything& all, const ModelRecord& m, Findings* out) {
  const CorpusRecord& corpus = m.corpus();
  const std::string& id = m.model_id();
  const auto state = static_cast<CorpusState>(corpus.state());
  if (Name(state) == "UNKNOWN" || (state == CorpusState::kNone) != corpus.job_id().empty()) {
    out->Error("CORPUS_INCONSISTENT", id + ": its corpus has an unknown state, or no job");
    return;
  }
  if (!corpus.job_id().empty() && !all.jobs.contains(corpus.job_id())) {
    out->Error("JOB_DANGLING", id + ": its corpus names job " + corpus.job_id());
  }
  const bool read = state == CorpusState::kTraining || state == CorpusState::kReady;
  if (read != (corpus.shards_size() > 0)) {
    out->Error("CORPUS_INCONSISTENT", id + ": the shards of its corpus do not fit its state");
  }
  bool waiting = false;
  for (int shard = 0; shard < corpus.shards_size(); ++shard) {
    const TeacherRecord& teacher = corpus.shards(shard);
    const auto of = static_cast<TeacherState>(teacher.state());
    const std::string name = id + ": the teacher of shard " + std::to_string(shard);
    waiting |= of == TeacherState::kWaiting;
    if (Name(of) == "UNKNOWN" || of == TeacherState::kNone) {
      out->Error("TEACHER_CORRUPT", name + " has an unknown state");
    } else if (!all.jobs.contains(teacher.job_id())) {
      out->Error("JOB_DANGLING", name + " names job " + teacher.job_id());
    } else if (of == TeacherState::kReady && teacher.state_key().empty()) {
      out->Error("TEACHER_INCONSISTENT", name + " is READY and was trained on nothing");
    }
  }
  if (read && waiting != (state == CorpusState::kTraining)) {
    out->Error("CORPUS_INCONSISTENT", id + ": its corpus and its teachers do not agree");
  }
}

}  // namespace

void CheckJobs(const Everything& all, Findings* out) {
  std::set<uint64_t> fences;
  for (const auto& [id, j] : all.jobs) {
    const auto state = static_cast<JobState>(j.state());
    if (j.job_id() != id || Name(state) == "UNKNOWN" || state == JobState::kNone ||
        Name(static_cast<JobKind>(j.kind())) == "UNKNOWN") {
      out->Error("JOB_CORRUPT", id + " has another id, or an unknown state or kind");
      continue;
    }
    const ModelRecord* model = Lookup(all.models, j.model_id());
    if (model == nullptr) {
      out->Error("MODEL_DANGLING", id + " names model " + j.model_id());
    } else if (!HoldsModel(static_cast<JobKind>(j.kind()))) {
      CheckBesideModel(*model, j, out);
    } else if (IsActive(j) != (model->active_job_id() == id)) {
      out->Error("ACTIVE_JOB", id + " and its model do not agree whether it is active");
    }
    const bool leased = state == JobState::kLeased;
    if (leased != (j.lease_expire_us() != 0) || (leased && j.fence() == 0)) {
      out->Error("LEASE_INCONSISTENT", id + ": lease and state do not fit");
    }
    if (j.fence() > all.counters.fence() || (j.fence() != 0 && !fences.insert(j.fence()).second)) {
      out->Error("FENCE_REUSED", id + " has a fence that was never given, or given twice");
    }
    CheckJobTickets(all, j, out);
    CheckJobCheckpoints(all, j, out);
  }
}

void CheckModels(const Everything& all, Findings* out) {
  std::map<std::string, int> promoted;
  for (const auto& [id, c] : all.checkpoints) {
    promoted[c.model_id()] += c.state() == static_cast<int32_t>(CheckpointState::kPromoted);
  }
  for (const auto& [id, m] : all.models) {
    const auto state = static_cast<ModelState>(m.state());
    if (m.model_id() != id || Name(state) == "UNKNOWN" || !PolicyOf(m).ok()) {
      out->Error("MODEL_CORRUPT", id + " has another id, an unknown state or no policy");
      continue;
    }
    const bool ready = state == ModelState::kReady;
    if (promoted[id] != (ready ? 1 : 0)) {
      out->Error("PROMOTED_COUNT",
                 id + " has " + std::to_string(promoted[id]) + " promoted checkpoints");
    }
    if (!m.active_job_id().empty() && !all.jobs.contains(m.active_job_id())) {
      out->Error("JOB_DANGLING", id + " names job " + m.active_job_id());
    }
    CheckCorpus(all, m, out);
    if (!ready) {
      if (m.generation() != 0 || (state == ModelState::kPreparing) != !m.active_job_id().empty()) {
        out->Error("MODEL_INCONSISTENT", id + ": generation or job do not fit its state");
      }
      continue;
    }
    const CheckpointRecord* current = Lookup(all.checkpoints, m.current_checkpoint_id());
    if (current == nullptr || current->model_id() != id ||
        current->state() != static_cast<int32_t>(CheckpointState::kPromoted) ||
        current->generation() != m.generation() || m.generation() == 0) {
      out->Error("CURRENT_INCONSISTENT", id + ": its current checkpoint is not the promoted one");
    }
    lethe::v1::ModelFacts facts;
    if (m.data_folder().empty() || !facts.ParseFromString(m.facts())) {
      out->Error("MODEL_INCONSISTENT", id + " is READY without facts or data");
    }
  }
}

void CheckCheckpoints(const Everything& all, Findings* out) {
  std::set<std::pair<std::string, uint64_t>> generations;
  for (const auto& [id, c] : all.checkpoints) {
    const auto state = static_cast<CheckpointState>(c.state());
    if (c.checkpoint_id() != id || Name(state) == "UNKNOWN" || state == CheckpointState::kNone) {
      out->Error("CHECKPOINT_CORRUPT", id + " has another id or an unknown state");
      continue;
    }
    const ModelRecord* model = Lookup(all.models, c.model_id());
    if (model == nullptr) out->Error("MODEL_DANGLING", id + " names model " + c.model_id());
    if (!all.jobs.contains(c.job_id())) out->Error("JOB_DANGLING", id + " names job " + c.job_id());
    if (CheckpointOfLease(JobId{c.job_id()}, Fence{c.fence()}).value != id) {
      out->Error("CHECKPOINT_CORRUPT", id + " is not the checkpoint of its job and fence");
    }
    if (!c.parent_checkpoint_id().empty() && !all.checkpoints.contains(c.parent_checkpoint_id())) {
      out->Error("CHECKPOINT_DANGLING", id + " names parent " + c.parent_checkpoint_id());
    }
    if (!c.report_id().empty() && !all.reports.contains(c.report_id())) {
      out->Error("REPORT_DANGLING", id + " names report " + c.report_id());
    }
    const bool was_promoted =
        state == CheckpointState::kPromoted || state == CheckpointState::kRetired;
    if (was_promoted != (c.generation() != 0)) {
      out->Error("GENERATION", id + ": generation and state do not fit");
    }
    if (c.generation() != 0 && (!generations.emplace(c.model_id(), c.generation()).second ||
                                (model != nullptr && c.generation() > model->generation()))) {
      out->Error("GENERATION", id + " has a generation that was never given, or given twice");
    }
    if (c.folder_removed() &&
        (state == CheckpointState::kPromoted || state == CheckpointState::kCandidate)) {
      out->Error("FOLDER_REMOVED", id + " is needed and marked as removed");
    }
    if (state == CheckpointState::kCandidate) {
      const JobRecord* judge = model ? Lookup(all.jobs, model->active_job_id()) : nullptr;
      if (judge == nullptr || judge->candidate_checkpoint_id() != id ||
          judge->kind() != static_cast<int32_t>(JobKind::kVerify)) {
        out->Error("CANDIDATE_STRANDED", id + " is a CANDIDATE that no active job judges");
      }
    }
    for (const std::string& ticket : c.ticket_ids()) {
      if (!all.tickets.contains(ticket))
        out->Error("TICKET_DANGLING", id + " names ticket " + ticket);
    }
  }
}

}  // namespace lethe::storage
