#include "storage/ticket_store.h"

#include <map>

#include "absl/synchronization/notification.h"
#include "base/status.h"
#include "storage/committer.h"
#include "storage/driver.h"
#include "storage/live_index.h"
#include "storage/vault.h"

namespace lethe::storage {
namespace {

class Store : public TicketStore {
 public:
  Store(std::unique_ptr<Driver> driver, std::unique_ptr<LiveIndex> live,
        const StoreOptions& options)
      : driver_(std::move(driver)),
        live_(std::move(live)),
        committer_(driver_.get(), live_.get(), options) {}

  void Post(Command command, Done done) override {
    committer_.Post(std::move(command), std::move(done));
  }
  std::unique_ptr<const storage::Snapshot> Snapshot() const override {
    return driver_->NewSnapshot();
  }
  WorkView Work(int32_t head) const override { return live_->Work(head); }
  storage::Totals Totals() const override { return live_->Totals(); }
  absl::Status Health() const override { return committer_.Health(); }
  void AddObserver(CommitObserver* observer) override { committer_.AddObserver(observer); }
  void RemoveObserver(CommitObserver* observer) override { committer_.RemoveObserver(observer); }
  absl::Status CompactFiles() override { return driver_->CompactFiles(); }

 private:
  const std::unique_ptr<Driver> driver_;
  const std::unique_ptr<LiveIndex> live_;
  Committer committer_;  // last: its thread uses the others
};

absl::Status CheckVault(Driver* driver, const Vault& vault) {
  LETHE_ASSIGN_OR_RETURN(std::string identity, driver->VaultIdentity());
  if (identity.empty()) return driver->SetVaultIdentity(vault.Identity());
  if (identity != vault.Identity()) {
    return Error(absl::StatusCode::kFailedPrecondition, "KEY_FILE_WRONG",
                 "this key file is not the one the store was made with; give the right one");
  }
  return driver->Latest().ForEachKey([&](const std::string& ticket, const KeyRecord& key) {
    if (vault.HasEpoch(key.epoch())) return absl::OkStatus();
    return Error(absl::StatusCode::kFailedPrecondition, "KEY_FILE_OUTDATED",
                 "the key file lacks an epoch that a live ticket needs; give its newest copy",
                 {{"ticket", ticket}, {"epoch", std::to_string(key.epoch())}});
  });
}

}  // namespace

absl::StatusOr<Receipt> TicketStore::Commit(Command command) {
  absl::StatusOr<Receipt> result;
  absl::Notification finished;
  Post(std::move(command), [&](absl::StatusOr<Receipt> r) {
    result = std::move(r);
    finished.Notify();
  });
  finished.WaitForNotification();
  return result;
}

absl::StatusOr<std::unique_ptr<TicketStore>> MakeStore(std::unique_ptr<Driver> driver,
                                                       const StoreOptions& options) {
  if (options.vault != nullptr) LETHE_RETURN_IF_ERROR(CheckVault(driver.get(), *options.vault));
  auto live = std::make_unique<LiveIndex>();
  LETHE_RETURN_IF_ERROR(live->Rebuild(driver->Latest()));
  return std::make_unique<Store>(std::move(driver), std::move(live), options);
}

}  // namespace lethe::storage
