#include "server/folder_keeper.h"

#include <utility>

#include "base/log.h"
#include "base/status.h"
#include "storage/model_folders.h"

namespace lethe {

FolderKeeper::FolderKeeper(storage::TicketStore* store, std::filesystem::path model_folder,
                           AuditHub* audits)
    : store_(store),
      model_folder_(std::move(model_folder)),
      audits_(audits),
      thread_([this] { Loop(); }) {}

FolderKeeper::~FolderKeeper() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  thread_.join();
}

void FolderKeeper::Schedule(const ModelId& model, std::function<void()> after) {
  absl::MutexLock lock(&mu_);
  auto& afterwards = waiting_[model];
  if (after) afterwards.push_back(std::move(after));
}

void FolderKeeper::Tick() {
  absl::MutexLock lock(&mu_);
  for (const ModelId& model : failed_) waiting_[model];
  failed_.clear();
}

void FolderKeeper::WaitUntilIdle() {
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(this, &FolderKeeper::Idle));
}

void FolderKeeper::Loop() {
  while (true) {
    ModelId model;
    std::vector<std::function<void()>> afterwards;
    {
      absl::MutexLock lock(&mu_);
      working_ = false;
      mu_.Await(absl::Condition(this, &FolderKeeper::HasWork));
      if (waiting_.empty()) return;
      auto node = waiting_.extract(waiting_.begin());
      model = node.key();
      afterwards = std::move(node.mapped());
      working_ = true;
    }
    Reconcile(model);
    for (const auto& after : afterwards) after();
  }
}

void FolderKeeper::Reconcile(const ModelId& model) {
  const auto done =
      storage::ReconcileModelFolder(store_, model_folder_, model, "server",
                                    [&](const std::string& name) { return audits_->Keeps(name); });
  if (!done.ok()) {
    LogError("a model's folder could not be brought in line",
             {{"model", model.value}, {"reason", ErrorReason(done.status())}});
    absl::MutexLock lock(&mu_);
    failed_.insert(model);
  } else if (done->current_switched || done->folders_removed > 0) {
    LogInfo("model folder in line", {{"model", model.value},
                                     {"current_switched", done->current_switched},
                                     {"folders_removed", done->folders_removed}});
  }
}

}  // namespace lethe
