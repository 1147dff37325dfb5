#include "storage/committer.h"

#include <algorithm>

#include "absl/time/clock.h"
#include "base/status.h"
#include "storage/batch_view.h"
#include "storage/command/decide.h"

namespace lethe::storage {
namespace {

// What one write carries at most: enough to share a sync among all who wait, little enough that
// nobody waits for a giant.
constexpr size_t kMaxCommands = 4096;
constexpr size_t kMaxPayloadBytes = 4 << 20;

template <typename Record>
std::vector<Changed<Record>> Tell(Puts<Record>& puts) {
  std::vector<Changed<Record>> out;
  out.reserve(puts.size());
  for (auto& [id, put] : puts) out.push_back({std::move(put.before), std::move(put.after)});
  return out;
}

}  // namespace

Committer::Committer(Driver* driver, LiveIndex* live, const StoreOptions& options)
    : driver_(driver),
      live_(live),
      clock_(options.clock),
      rules_(options.rules),
      observers_(options.observers),
      thread_([this] { Run(); }) {}

Committer::~Committer() {
  {
    absl::MutexLock lock(&mu_);
    closing_ = true;
  }
  thread_.join();
}

void Committer::Post(Command command, TicketStore::Done done) {
  {
    absl::MutexLock lock(&mu_);
    if (!closing_) {
      queue_.push_back({std::move(command), std::move(done), Receipt{}});
      return;
    }
  }
  done(Error(absl::StatusCode::kUnavailable, "STORE_CLOSING", "the store is being closed"));
}

absl::Status Committer::Health() const {
  absl::MutexLock lock(&mu_);
  return health_;
}

void Committer::AddObserver(CommitObserver* observer) {
  absl::MutexLock lock(&observers_mu_);
  observers_.push_back(observer);
}

void Committer::RemoveObserver(CommitObserver* observer) {
  absl::MutexLock lock(&observers_mu_);
  observers_.erase(std::remove(observers_.begin(), observers_.end(), observer), observers_.end());
}

void Committer::Run() {
  std::deque<Waiting> group;
  for (;;) {
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(
          +[](Committer* self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(self->mu_) {
            return self->closing_ || !self->queue_.empty();
          },
          this));
      if (queue_.empty()) return;  // closing, and everything is done
      group.swap(queue_);
    }
    while (!group.empty()) CommitGroup(group);
  }
}

size_t Committer::DecideGroup(std::deque<Waiting>& group, Changes& merged, CommitEvent& event) {
  const BatchView view(driver_->Latest(), merged);
  last_now_ = std::max(last_now_, clock_->Now());  // time never runs backwards within the store
  size_t payload_bytes = 0, count = 0;
  for (; count < group.size() && count < kMaxCommands && payload_bytes < kMaxPayloadBytes;
       ++count) {
    Waiting& waiting = group[count];
    absl::StatusOr<Changes> changes = Decide(waiting.command, view, last_now_, rules_);
    if (!changes.ok()) {
      waiting.result = changes.status();
      ++event.refused;
      continue;
    }
    for (const auto& [ticket, payload] : changes->payloads)
      payload_bytes += payload.sealed().size();
    merged.Merge(*changes);
    waiting.result = std::move(changes->receipt);
  }
  event.commands = static_cast<int32_t>(count);
  return count;
}

void Committer::CommitGroup(std::deque<Waiting>& group) {
  Changes merged;
  CommitEvent event;
  absl::Status health = Health();
  size_t count = group.size();
  if (health.ok()) {
    const absl::Time begin = absl::Now();
    count = DecideGroup(group, merged, event);
    const absl::Time decided = absl::Now();
    event.decide = decided - begin;
    if (!merged.Empty()) {
      health = driver_->Write(merged);
      event.write = absl::Now() - decided;
    }
    if (health.ok()) {
      live_->Apply(merged);
      event.leaves = static_cast<int64_t>(merged.leaves.size());
      event.tickets = Tell(merged.tickets);
      event.jobs = Tell(merged.jobs);
      event.models = Tell(merged.models);
      event.checkpoints = Tell(merged.checkpoints);
      for (auto& [id, report] : merged.reports) event.reports.push_back(std::move(report));
      TellObservers(event);
    } else {
      BecomeReadOnly(health);
    }
  }
  for (size_t i = 0; i < count; ++i) {
    Waiting waiting = std::move(group.front());
    group.pop_front();
    if (waiting.done) waiting.done(health.ok() ? std::move(waiting.result) : health);
  }
}

void Committer::TellObservers(const CommitEvent& event) {
  absl::MutexLock lock(&observers_mu_);
  for (CommitObserver* observer : observers_) observer->OnCommit(event);
}

void Committer::BecomeReadOnly(const absl::Status& status) {
  {
    absl::MutexLock lock(&mu_);
    health_ = status;
  }
  absl::MutexLock lock(&observers_mu_);
  for (CommitObserver* observer : observers_) observer->OnReadOnly(status);
}

}  // namespace lethe::storage
