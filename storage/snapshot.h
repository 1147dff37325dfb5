// Reads. View: single records and the few lists that decisions need. Snapshot: those and what
// callers list, all of one moment.
//
//   auto snapshot = store->Snapshot();
//   LETHE_ASSIGN_OR_RETURN(TicketRecord ticket, snapshot->GetTicket(id));
//   LETHE_ASSIGN_OR_RETURN(TicketPage page, snapshot->ListTickets({.model = m, .limit = 50}));
//
// Find… gives nothing where there is no record; Get… gives NOT_FOUND with a reason
// (TICKET_NOT_FOUND for example).
//
// Errors     besides: DATA_LOSS/RECORD_CORRUPT when a record does not parse,
//            UNAVAILABLE/STORE_READ_FAILED when the disk does not answer.
// Threads    any thread may read one snapshot.
// Cost       Get: one point read. ListTickets: O(states × log + page), whatever the number of
//            tickets.
// Lifetime   a snapshot must not outlive its store; do not keep one: while
//            it lives, deleted payloads stay on disk.
#ifndef LETHE_STORAGE_SNAPSHOT_H_
#define LETHE_STORAGE_SNAPSHOT_H_

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "storage/command/commands.h"
#include "storage/state/checkpoint_state.h"
#include "storage/state/job_state.h"
#include "storage/state/ticket_state.h"

namespace lethe::storage {

template <typename T>
using Found = absl::StatusOr<std::optional<T>>;

class View {
 public:
  virtual ~View() = default;

  virtual Found<TicketRecord> FindTicket(const TicketId& id) const = 0;
  virtual Found<JobRecord> FindJob(const JobId& id) const = 0;
  virtual Found<ModelRecord> FindModel(const ModelId& id) const = 0;
  virtual Found<CheckpointRecord> FindCheckpoint(const CheckpointId& id) const = 0;
  virtual Found<ReportRecord> FindReport(const std::string& id) const = 0;
  virtual Found<RequestRecord> FindRequest(const std::string& request_key) const = 0;
  virtual Found<PayloadRecord> FindPayload(const TicketId& ticket) const = 0;
  virtual Found<KeyRecord> FindKey(const TicketId& ticket) const = 0;
  virtual absl::StatusOr<CountersRecord> Counters() const = 0;

  virtual absl::StatusOr<std::vector<JobId>> JobsInState(JobState state) const = 0;  // ascending
  // Of one model, newest first.
  virtual absl::StatusOr<std::vector<CheckpointId>> CheckpointsOf(const ModelId& model) const = 0;
  // Keys of RequestRecords with expire_us <= now_us, oldest first.
  virtual absl::StatusOr<std::vector<std::string>> ExpiredRequests(int64_t now_us,
                                                                   int32_t limit) const = 0;

  absl::StatusOr<TicketRecord> GetTicket(const TicketId& id) const;
  absl::StatusOr<JobRecord> GetJob(const JobId& id) const;
  absl::StatusOr<ModelRecord> GetModel(const ModelId& id) const;
  absl::StatusOr<CheckpointRecord> GetCheckpoint(const CheckpointId& id) const;
  absl::StatusOr<ReportRecord> GetReport(const std::string& id) const;  // REPORT_NOT_FOUND
};

// Where a page of tickets ended: the last ticket shown. A page token is the server's encoding of
// this and of the filter.
struct TicketCursor {
  int64_t create_us = 0;
  TicketId ticket;
};

struct TicketQuery {
  ModelId model;                      // empty: all
  std::vector<TicketState> states;    // empty: all
  std::optional<TicketCursor> after;  // continue there
  int32_t limit = 50;
};

struct TicketPage {
  std::vector<TicketRecord> tickets;  // by (create time, id), newest first
  std::optional<TicketCursor> next;   // absent at the end
};

class Snapshot : public View {
 public:
  virtual absl::StatusOr<TicketPage> ListTickets(const TicketQuery& query) const = 0;
  // By name, those after `after` (empty: from the first).
  virtual absl::StatusOr<std::vector<ModelRecord>> ListModels(const ModelId& after,
                                                              int32_t limit) const = 0;
  // Newest first, those after `after` (empty: from the newest). NOT_FOUND/CHECKPOINT_NOT_FOUND when
  // `after` is not of the model.
  absl::StatusOr<std::vector<CheckpointRecord>> ListCheckpoints(const ModelId& model,
                                                                const CheckpointId& after,
                                                                int32_t limit) const;
  // The stored bytes of leaves [first, first + limit): hash these, never a re-serialisation.
  // Shorter at the end of the log.
  virtual absl::StatusOr<std::vector<std::string>> AuditLeaves(LogIndex first,
                                                               int32_t limit) const = 0;

  // Every record, by key; a visitor's error ends the walk and is returned. For fsck, rotation and
  // rebuilding indexes.
  template <typename Record>
  using Visitor = std::function<absl::Status(const std::string& key, const Record& record)>;
  virtual absl::Status ForEachTicket(const Visitor<TicketRecord>& visit) const = 0;
  virtual absl::Status ForEachJob(const Visitor<JobRecord>& visit) const = 0;
  virtual absl::Status ForEachModel(const Visitor<ModelRecord>& visit) const = 0;
  virtual absl::Status ForEachCheckpoint(const Visitor<CheckpointRecord>& visit) const = 0;
  virtual absl::Status ForEachReport(const Visitor<ReportRecord>& visit) const = 0;
  virtual absl::Status ForEachRequest(const Visitor<RequestRecord>& visit) const = 0;
  virtual absl::Status ForEachPayload(const Visitor<PayloadRecord>& visit) const = 0;
  virtual absl::Status ForEachKey(const Visitor<KeyRecord>& visit) const = 0;

  // What is wrong with the driver's own indexes, one line each; empty when they agree with the
  // records.
  virtual absl::StatusOr<std::vector<std::string>> CheckIndexes() const = 0;
};

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_SNAPSHOT_H_
