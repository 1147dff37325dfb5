// Draft: the changes of one command while it is being decided. Internal to command/.
//
//   Draft draft(view, now, c.actor);
//   LETHE_ASSIGN_OR_RETURN(TicketRecord* ticket, draft.Ticket(c.ticket));  // the same at each call
//   LETHE_RETURN_IF_ERROR(draft.Move(ticket, TicketEvent::kApprove));  // state, version, leaf
//   return draft.Finish({.tickets = {*ticket}});
//
// Move is the only code that sets a state: it asks Step(), so no state changes past its table, and
// writes the leaf. Pointers stay valid as long as the draft.
#ifndef LETHE_STORAGE_COMMAND_DRAFT_H_
#define LETHE_STORAGE_COMMAND_DRAFT_H_

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lethe/v1/ticket.pb.h"
#include "storage/command/changes.h"
#include "storage/snapshot.h"
#include "storage/state/corpus_state.h"

namespace lethe::storage {

class Draft {
 public:
  Draft(const View& view, absl::Time now, std::string actor);

  const View& view() const { return view_; }
  absl::Time now() const { return now_; }
  int64_t now_us() const { return absl::ToUnixMicros(now_); }

  // Existing records, to read or to change.
  absl::StatusOr<TicketRecord*> Ticket(const TicketId& id);
  absl::StatusOr<JobRecord*> Job(const JobId& id);
  absl::StatusOr<ModelRecord*> Model(const ModelId& id);
  absl::StatusOr<CheckpointRecord*> Checkpoint(const CheckpointId& id);

  // New records, in state NONE until the first Move. The id must not exist.
  TicketRecord* NewTicket(const TicketId& id);
  JobRecord* NewJob(const JobId& id);
  ModelRecord* NewModel(const ModelId& id);
  CheckpointRecord* NewCheckpoint(const CheckpointId& id);

  absl::Status Move(TicketRecord* ticket, TicketEvent event,
                    lethe::v1::TicketReason reason = lethe::v1::TICKET_REASON_UNSPECIFIED,
                    const std::map<std::string, std::string>& digests = {});
  absl::Status Move(JobRecord* job, JobEvent event, std::string_view reason = "",
                    const std::map<std::string, std::string>& digests = {});
  // `model` must be the checkpoint's; its generation grows where the table says so.
  absl::Status Move(CheckpointRecord* checkpoint, CheckpointEvent event, ModelRecord* model,
                    std::string_view reason = "",
                    const std::map<std::string, std::string>& digests = {});
  void Move(ModelRecord* model, ModelState to, std::string_view reason = "");

  // Of the model's corpus.
  absl::Status Move(ModelRecord* model, CorpusEvent event, std::string_view reason = "",
                    const std::map<std::string, std::string>& digests = {});
  // Of the teacher of one shard of it; `reason` stands in its record when the event is a failure.
  absl::Status Move(ModelRecord* model, int32_t shard, TeacherEvent event, const std::string& job,
                    std::string_view reason = "",
                    const std::map<std::string, std::string>& digests = {});

  // A change of a ticket that is not a change of state: version, update time and a leaf.
  void Note(TicketRecord* ticket, std::string_view event, std::string_view reason = "");
  void Note(CheckpointRecord* checkpoint, std::string_view event);
  void NoteKeyEpoch(uint64_t epoch);

  absl::StatusOr<CountersRecord*> Counters();
  Changes& changes() { return changes_; }

  // Drops what was only read, serialises the leaves.
  absl::StatusOr<Changes> Finish(Receipt receipt);

 private:
  AuditLeaf* Leaf(std::string_view event, std::string_view reason);

  const View& view_;
  const absl::Time now_;
  const std::string actor_;
  Changes changes_;
  std::vector<AuditLeaf> leaves_;
};

// Names without their prefix, "WITHDRAWN"; "" for UNSPECIFIED.
std::string ReasonName(lethe::v1::TicketReason reason);

// The same bytes for the same message, maps included.
std::string Serialize(const google::protobuf::MessageLite& message);

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_COMMAND_DRAFT_H_
