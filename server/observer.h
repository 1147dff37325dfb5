// What follows from a commit: watchers hear of it, waiting polls are served,
// folders and metrics are brought up to date.
//
// Threads    called on a thread of the committer; nothing here blocks or does I/O.
#ifndef LETHE_SERVER_OBSERVER_H_
#define LETHE_SERVER_OBSERVER_H_

#include <functional>

#include "server/core.h"
#include "server/dispatcher.h"
#include "server/folder_keeper.h"
#include "storage/observer.h"

namespace lethe {

class ServerObserver : public storage::CommitObserver {
 public:
  // `on_read_only` is told when the store takes no more writes.
  ServerObserver(Core* core, Dispatcher* dispatcher, FolderKeeper* keeper,
                 std::function<void()> on_read_only)
      : core_(core),
        dispatcher_(dispatcher),
        keeper_(keeper),
        on_read_only_(std::move(on_read_only)) {}

  void OnCommit(const storage::CommitEvent& event) override;
  void OnReadOnly(const absl::Status& status) override;

 private:
  void CloseErased(const storage::ModelRecord& model);
  void OnJob(const storage::Changed<storage::JobRecord>& job);
  void OnCheckpoint(const storage::CommitEvent& event,
                    const storage::Changed<storage::CheckpointRecord>& checkpoint);
  void OnReport(const storage::ReportRecord& report);

  Core* const core_;
  Dispatcher* const dispatcher_;
  FolderKeeper* const keeper_;
  const std::function<void()> on_read_only_;
};

}  // namespace lethe

#endif  // LETHE_SERVER_OBSERVER_H_
