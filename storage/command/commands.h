// Commands: everything that can change the store, as plain values.
//
//   store->Post(ApproveTicket{.actor = "ops", .ticket = id, .version = 3}, done);
//
// Each struct says what it needs, what it decides, and what a repetition does; command/decide.h is
// the code. `actor` is the name of the principal and goes into the audit log: never personal data.
// Every command may also be refused with UNAVAILABLE/STORE_READ_ONLY or DISK_FULL (ticket_store.h).
// Unknown ids are NOT_FOUND: TICKET_NOT_FOUND, JOB_NOT_FOUND, MODEL_NOT_FOUND,
// CHECKPOINT_NOT_FOUND. A `version` that is set must equal the ticket's: else
// ABORTED/ETAG_MISMATCH.
//
// Leases     commands of workers carry (job, fence). A fence that is not the job's, or a job
//            that is no longer LEASED: ABORTED/LEASE_LOST, and nothing changes. The same result
//            handed in again under the same fence is OK and changes nothing (the first reply
//            was lost): Receipt::repeated.
#ifndef LETHE_STORAGE_COMMAND_COMMANDS_H_
#define LETHE_STORAGE_COMMAND_COMMANDS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "base/ids.h"
#include "lethe/store/v1/records.pb.h"

namespace lethe::storage {

using store::v1::AuditLeaf;
using store::v1::CheckpointRecord;
using store::v1::CorpusRecord;
using store::v1::CountersRecord;
using store::v1::JobRecord;
using store::v1::KeyRecord;
using store::v1::ModelRecord;
using store::v1::PayloadRecord;
using store::v1::ReportRecord;
using store::v1::RequestRecord;
using store::v1::TeacherRecord;
using store::v1::TicketRecord;

// ---- tickets ------------------------------------------------------------------------------------

// One ticket to file. The payload is sealed already (vault.h).
struct NewTicket {
  TicketId id;  // fresh: NewOrderedId(random, 't', now)
  ModelId model;
  int32_t regulation = 0;  // lethe.v1.Regulation
  std::string external_reference;
  absl::Time request_time;
  absl::Time due_time;
  int32_t sequences = 0;
  int64_t tokens = 0;
  // Of the model's corpus, to erase: how many sequences (their numbers are in the payload), and the
  // shards that hold them, ascending. Both or neither.
  int32_t corpus_sequences = 0;
  std::vector<int32_t> corpus_shards;
  std::string request_key;  // RequestKey(request_id), command/decide.h; required
  // Vault::BodyDigest(the request, serialised deterministically); required
  std::string request_digest;
  PayloadRecord payload;
  KeyRecord key;
  std::string payload_commitment;  // goes into the audit leaf
};

// Files all tickets or none. They are QUEUED, or PENDING_APPROVAL where the model's policy asks for
// approval.
//   again    a known request_key with the same digest gives its ticket as it is now (one whose
//            ticket has ended is not compared: the digest is gone with the payload). Within one
//            command too.
//   errors   with metadata "index": NOT_FOUND/MODEL_NOT_FOUND, FAILED_PRECONDITION/MODEL_NOT_READY,
//            CORPUS_NOT_READY (what the ticket touches cannot be known yet), CORPUS_CHANGED (shards
//            that the corpus does not have), ALREADY_EXISTS/REQUEST_ID_REUSED, INVALID_ARGUMENT/COMMAND_MALFORMED.
//            ABORTED/KEY_EPOCH_RETIRED: the key file was rotated since the payload was sealed; seal
//            it again and post again.
//   receipt  tickets, in order
struct CreateTickets {
  std::string actor;
  std::vector<NewTicket> tickets;
};

// PENDING_APPROVAL to QUEUED.
//   receipt  tickets[0], in all commands about one ticket
struct ApproveTicket {
  std::string actor;
  TicketId ticket;
  std::optional<uint64_t> version;
};

// PENDING_APPROVAL to DENIED; payload and key destroyed.
//   errors   INVALID_ARGUMENT/REASON_REQUIRED: `reason` is none that DenyTicket allows
struct DenyTicket {
  std::string actor;
  TicketId ticket;
  std::optional<uint64_t> version;
  int32_t reason = 0;
};

// Sets the hold of a ticket that has not ended. UNLEARNING or VERIFYING: its job is CANCELLED, a
// candidate REJECTED, the ticket and its companions go back to QUEUED.
//   again    no change
struct HoldTicket {
  std::string actor;
  TicketId ticket;
  std::optional<uint64_t> version;
};

// Lifts the hold; the state stays.
//   again    no change
struct ReleaseTicket {
  std::string actor;
  TicketId ticket;
  std::optional<uint64_t> version;
};

// Moves the due time, once. How far the law allows is the caller's business.
//   errors   FAILED_PRECONDITION/ALREADY_EXTENDED; INVALID_ARGUMENT: DUE_TIME_INVALID (not later
//            than now and the present one), REASON_REQUIRED
struct ExtendTicket {
  std::string actor;
  TicketId ticket;
  std::optional<uint64_t> version;
  absl::Time due_time;
  std::string reason;  // 1 to 500 characters, no personal data
};

// Any state that is not final to CANCELLED; payload and key destroyed; a job that holds it is
// CANCELLED as in HoldTicket.
struct CancelTicket {
  std::string actor;
  TicketId ticket;
  std::optional<uint64_t> version;
};

// FAILED to QUEUED, first rung, no batch cap, at the end of the queue.
struct RetryTicket {
  std::string actor;
  TicketId ticket;
  std::optional<uint64_t> version;
};

// ---- models -------------------------------------------------------------------------------------

// Makes a model PREPARING and its PREPARE job READY.
//   errors   ALREADY_EXISTS/MODEL_EXISTS; INVALID_ARGUMENT/POLICY_INVALID when `policy` does not
//            parse or has an empty ladder: resolve the defaults first, so that a model keeps the
//            policy it was registered with
//   receipt  model, job
struct RegisterModel {
  std::string actor;
  ModelId model;
  JobId job;  // fresh: NewId(random, 'j')
  uint64_t seed = 0;
  std::string policy;  // a serialised lethe.v1.ModelPolicy with defaults filled in
  std::string source_path;
  std::string retain_path;
  std::string holdout_path;
  std::map<std::string, std::string> other_paths;
};

// Makes a corpus READING and its INGEST job READY. A FAILED one is replaced.
//   errors   ALREADY_EXISTS/CORPUS_EXISTS; FAILED_PRECONDITION: MODEL_NOT_READY, JOB_ACTIVE;
//            INVALID_ARGUMENT/COMMAND_MALFORMED when the options do not parse or name no shard
//   receipt  model, job
struct RegisterCorpus {
  std::string actor;
  ModelId model;
  JobId job;  // fresh
  uint64_t seed = 0;
  std::vector<std::string> source_paths;
  std::string options;   // a serialised lethe.v1.CorpusOptions with defaults filled in
  std::string teachers;  // a serialised lethe.v1.TeacherOptions, likewise
  std::string base;      // a serialised lethe.v1.BaseOptions, likewise; empty: none
};

// A person promotes a CANDIDATE past the verdict. Its VERIFY job is CANCELLED, its tickets
// COMPLETED with reason OVERRIDDEN, or ERASING as in CompleteVerify.
//   errors   FAILED_PRECONDITION: WRONG_STATE (not a candidate), GENERATION_MISMATCH, TICKET_HELD;
//            INVALID_ARGUMENT/REASON_REQUIRED
//   receipt  model, checkpoint, tickets
struct PromoteCheckpoint {
  std::string actor;
  ModelId model;
  CheckpointId checkpoint;
  Generation expected_generation;
  std::string reason;
  JobId retrain_job;  // fresh
};

// Makes a RETIRED checkpoint PROMOTED again, as a new generation; the current one is RETIRED.
//   errors   FAILED_PRECONDITION: WRONG_STATE, CHECKPOINT_REMOVED, JOB_ACTIVE, GENERATION_MISMATCH;
//            ROLLBACK_REEXPOSES_FORGOTTEN when tickets that the current checkpoint's lineage serves
//            are not in the target's (metadata "tickets": how many) and the caller does not
//            acknowledge it
//   receipt  model, checkpoint
struct RollbackModel {
  std::string actor;
  ModelId model;
  CheckpointId checkpoint;
  Generation expected_generation;
  std::string reason;
  bool acknowledge_reexposed = false;
};

// Notes that the folder of a REJECTED or RETIRED checkpoint goes: posted BEFORE the folder is
// removed, so that a roll-back can never choose a folder that is not there.
//   again    no change
//   receipt  checkpoint
struct MarkFolderRemoved {
  std::string actor;
  CheckpointId checkpoint;
};

// ---- jobs ---------------------------------------------------------------------------------------

// Makes an UNLEARN job READY on the model's current checkpoint; its tickets UNLEARNING; the job is
// the model's active one.
//   errors   FAILED_PRECONDITION: MODEL_NOT_READY, JOB_ACTIVE, GENERATION_MISMATCH, and of a ticket
//            WRONG_STATE, TICKET_HELD, TICKET_NOT_DUE (back-off), RUNG_MISMATCH, BATCH_TOO_LARGE
//            (the policy's max_tickets_per_job, or the smallest batch_cap)
//   receipt  job, tickets
struct FormUnlearnJob {
  std::string actor;
  JobId job;  // fresh
  uint64_t seed = 0;
  ModelId model;
  std::vector<TicketId> tickets;  // at least one, each once
  int32_t rung = 0;
  std::string method;
  std::string preset;
  std::map<std::string, double> overrides;
  Generation expected_generation;
};

// Gives a READY job to a worker under a new fence. PREPARE and UNLEARN jobs get the id of the
// checkpoint they will make (CheckpointOfLease, base/model_layout.h).
//   errors   FAILED_PRECONDITION: WRONG_STATE (taken, or done), JOB_NOT_DUE (back-off)
//   receipt  job
struct LeaseJob {
  std::string actor;
  JobId job;
  std::string worker;
  absl::Duration ttl;
};

// Extends the lease to now + ttl. A job that was CANCELLED under this fence: OK with
// Directive::kCancel.
//   receipt  job, directive
struct Heartbeat {
  std::string actor;
  JobId job;
  Fence fence;
  absl::Duration ttl;
};

// PREPARE done: its checkpoint PROMOTED as generation 1, the model READY.
//   receipt  model, job, checkpoint
struct CompletePrepare {
  std::string actor;
  JobId job;
  Fence fence;
  std::string facts;       // a serialised lethe.v1.ModelFacts
  std::string thresholds;  // a serialised lethe.v1.Thresholds
  std::string run;         // a serialised lethe.v1.RunRecord
  std::string digest;      // of the checkpoint's folder
};

// UNLEARN done: its checkpoint CANDIDATE, its tickets VERIFYING, a VERIFY job READY and the model's
// active one.
//   receipt  job (the VERIFY job), checkpoint, tickets
struct CompleteUnlearn {
  std::string actor;
  JobId job;
  Fence fence;
  std::string digest;  // of the candidate's folder
  std::string run;     // a serialised lethe.v1.RunRecord
  JobId verify_job;    // fresh
};

// VERIFY done. The verdict is computed here, by Rules::judge, from the measurements and the model's
// policy; nobody's word is taken for it. The report is kept and listed in every ticket of the job.
//   PASS     compare-and-set on (generation, job, fence): candidate PROMOTED as generation + 1, the
//            old one RETIRED, tickets COMPLETED, their payloads and keys destroyed; but those of which
//            the corpus holds something ERASING, the teachers of those shards STALE and a RETRAIN job
//            READY and the model's active one
//   else     candidate REJECTED. The tickets that did not pass (all, when each passed for itself
//            but something else suffered) go to the next rung; those that passed wait again at
//            their rung. On the last rung a job of several tickets halves their batch cap and they
//            wait again; a job of one ticket: FAILED, VERIFICATION_FAILED.
//   errors   INVALID_ARGUMENT/RESULT_MISMATCH unless the measurements are those of this job, fence,
//            candidate, base and generation, and name every sequence of every ticket;
//            RESULT_MALFORMED when they do not parse. Nothing changes.
//   receipt  model, job, checkpoint, tickets
struct CompleteVerify {
  std::string actor;
  JobId job;
  Fence fence;
  std::string measurements;  // a serialised lethe.v1.Measurements
  JobId retrain_job;         // fresh
};

// INGEST done: the corpus TRAINING, its teachers WAITING, a TRAIN job READY for each shard.
//   receipt  model, job
struct CompleteIngest {
  std::string actor;
  JobId job;
  Fence fence;
  int64_t sequences = 0;
  int64_t tokens = 0;
  std::vector<JobId> train_jobs;  // fresh, one a shard
};

// A teacher as a job left it.
struct TrainedTeacher {
  int32_t shard = 0;
  std::string state_key;
  std::string model_digest;    // empty: nothing is left to be trained on
  std::string failure_reason;  // of RETRAIN: why it could not be trained again; else empty
};

// TRAIN done: the teacher READY, and the corpus with the last of them.
//   receipt  model, job
struct CompleteTrain {
  std::string actor;
  JobId job;
  Fence fence;
  TrainedTeacher teacher;
  int64_t trained_tokens = 0;
  std::string run;  // a serialised lethe.v1.RunRecord
};

// RETRAIN done: the teachers READY (FAILED those that could not be trained again), the tickets COMPLETED, their payloads and keys destroyed.
//   errors   INVALID_ARGUMENT/RESULT_MISMATCH unless the teachers are those of the job's shards
//   receipt  model, job, tickets
struct CompleteRetrain {
  std::string actor;
  JobId job;
  Fence fence;
  std::vector<TrainedTeacher> teachers;
  int64_t erased = 0;
  int64_t trained_tokens = 0;
  std::string run;  // a serialised lethe.v1.RunRecord
};

// Whose fault a failure is. Numbers are those of lethe.v1.FailureCause.
enum class FailureCause : int32_t {
  // Next rung, or half the batch, or FAILED (METHOD_FAILED). PREPARE: the model FAILED; INGEST: the
  // corpus; TRAIN: the teacher; RETRAIN: the tickets FAILED at once, whatever the cause.
  kMethod = 1,
  kInput = 2,  // the tickets FAILED at once; PREPARE, INGEST, TRAIN: as above
  // READY again after a pause that doubles; burns nothing. The one that reaches Rules::max_retries:
  // the tickets FAILED, INFRASTRUCTURE_FAILED; PREPARE: the model FAILED.
  kInfrastructure = 3,
  kDrained = 4,  // READY at once; burns nothing
};

// Gives the job back.
//   receipt  job, tickets
struct FailJob {
  std::string actor;
  JobId job;
  Fence fence;
  FailureCause cause = FailureCause::kInfrastructure;
  std::string reason;  // UPPER_SNAKE, else INVALID_ARGUMENT/COMMAND_MALFORMED
  // INGEST: the line at fault, from 1, and its file's place; 0: no line.
  int64_t line = 0;
  int32_t source = 0;
};

// Every lease that has run out: the job READY again, a loss counted; at Rules::max_losses as a
// failed method, WORKERS_LOST.
//   receipt  jobs
struct ExpireLeases {
  std::string actor;
};

// Every live lease runs one full term from now: posted once when the server starts (the clock may
// have jumped).
//   receipt  jobs
struct RestartLeases {
  std::string actor;
  absl::Duration ttl;
};

// ---- upkeep -------------------------------------------------------------------------------------

// Forgets idempotency keys older than Rules::request_keep, at most `limit`.
//   receipt  count
struct PurgeRequests {
  std::string actor;
  int32_t limit = 1000;
};

// Key rotation, used by compact.h: from now on only payloads sealed under `epoch` or later are
// accepted.
struct RaiseKeyEpoch {
  std::string actor;
  uint64_t epoch = 0;
};

// Key rotation: puts re-wrapped keys in the place of old ones; one whose ticket has ended meanwhile
// is left out.
//   receipt  count
struct ReplaceKeys {
  std::string actor;
  std::map<std::string, KeyRecord> keys;  // by ticket id
};

using Command = std::variant<CreateTickets, ApproveTicket, DenyTicket, HoldTicket, ReleaseTicket,
                             ExtendTicket, CancelTicket, RetryTicket, RegisterModel, RegisterCorpus,
                             PromoteCheckpoint, RollbackModel, MarkFolderRemoved, FormUnlearnJob,
                             LeaseJob, Heartbeat, CompletePrepare, CompleteUnlearn, CompleteVerify,
                             CompleteIngest, CompleteTrain, CompleteRetrain, FailJob, ExpireLeases,
                             RestartLeases, PurgeRequests, RaiseKeyEpoch, ReplaceKeys>;

// What a worker hears with its heartbeat.
enum class Directive { kContinue, kCancel };

// What a command gives back: records as they stand after it.
struct Receipt {
  std::vector<TicketRecord> tickets;
  std::vector<JobRecord> jobs;  // ExpireLeases, RestartLeases
  std::optional<JobRecord> job;
  std::optional<ModelRecord> model;
  std::optional<CheckpointRecord> checkpoint;
  Directive directive = Directive::kContinue;
  int64_t count = 0;
  bool repeated = false;  // it had been done before; nothing changed
};

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_COMMAND_COMMANDS_H_
