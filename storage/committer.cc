#include "storage/committer.h"

#include <algorithm>
#include <iterator>
#include <utility>

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
std::vector<Changed<Record>> ListChanged(Puts<Record>& puts) {
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
      committing_([this] { Run(); }),
      telling_([this] { RunTeller(); }) {}

Committer::~Committer() {
  {
    absl::MutexLock lock(&mu_);
    closing_ = true;
  }
  committing_.join();
  {
    absl::MutexLock lock(&outcomes_mu_);
    all_committed_ = true;
  }
  telling_.join();
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
    while (!group.empty()) {
      Outcome outcome = CommitGroup(group);
      const bool more = !group.empty();
      HandOver(std::move(outcome), more);
    }
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
    waiting.result = std::move(changes->receipt);
    merged.Merge(*std::move(changes));
  }
  event.commands = static_cast<int32_t>(count);
  return count;
}

Committer::Outcome Committer::CommitGroup(std::deque<Waiting>& group) {
  Outcome out{.health = Health()};
  size_t count = group.size();
  if (out.health.ok()) {
    const absl::Time begin = absl::Now();
    count = DecideGroup(group, out.changes, out.event);
    const absl::Time decided = absl::Now();
    out.event.decide = decided - begin;
    if (!out.changes.Empty()) {
      out.health = driver_->Write(out.changes);
      out.event.write = absl::Now() - decided;
    }
    if (out.health.ok()) {
      live_->Apply(out.changes);
    } else {
      out.failed_now = true;
      absl::MutexLock lock(&mu_);
      health_ = out.health;
    }
  }
  const auto end = group.begin() + static_cast<ptrdiff_t>(count);
  out.group.assign(std::move_iterator(group.begin()), std::move_iterator(end));
  group.erase(group.begin(), end);
  return out;
}

void Committer::HandOver(Outcome outcome, bool more) {
  if (!more) {
    absl::MutexLock lock(&mu_);
    more = !queue_.empty();
  }
  {
    absl::MutexLock lock(&outcomes_mu_);
    if (more || teller_busy_ || !outcomes_.empty()) {
      outcomes_.push_back(std::move(outcome));
      return;
    }
  }
  Tell(std::move(outcome));
}

void Committer::RunTeller() {
  for (;;) {
    std::deque<Outcome> outcomes;
    {
      absl::MutexLock lock(&outcomes_mu_);
      teller_busy_ = false;
      outcomes_mu_.Await(absl::Condition(
          +[](Committer* self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(self->outcomes_mu_) {
            return self->all_committed_ || !self->outcomes_.empty();
          },
          this));
      if (outcomes_.empty()) return;  // every group has been told of
      outcomes.swap(outcomes_);
      teller_busy_ = true;
    }
    for (Outcome& outcome : outcomes) Tell(std::move(outcome));
  }
}

void Committer::Tell(Outcome outcome) {
  CommitEvent& event = outcome.event;
  if (outcome.health.ok()) {
    Changes& changes = outcome.changes;
    event.leaves = static_cast<int64_t>(changes.leaves.size());
    event.tickets = ListChanged(changes.tickets);
    event.jobs = ListChanged(changes.jobs);
    event.models = ListChanged(changes.models);
    event.checkpoints = ListChanged(changes.checkpoints);
    for (auto& [id, report] : changes.reports) event.reports.push_back(std::move(report));
  }
  if (outcome.health.ok() || outcome.failed_now) {
    absl::MutexLock lock(&observers_mu_);
    for (CommitObserver* observer : observers_) {
      outcome.health.ok() ? observer->OnCommit(event) : observer->OnReadOnly(outcome.health);
    }
  }
  for (Waiting& waiting : outcome.group) {
    if (!waiting.done) continue;
    waiting.done(outcome.health.ok() ? std::move(waiting.result) : outcome.health);
  }
}

}  // namespace lethe::storage
