#include "tests/fault/soak/ledger.h"

#include "absl/strings/str_cat.h"

namespace lethe::soak {

void Ledger::Acknowledge(const std::string& request_id, const std::string& ticket_id) {
  absl::MutexLock lock(&mu_);
  const auto [it, fresh] = tickets_.emplace(request_id, ticket_id);
  if (it->second == ticket_id) return;
  broken_.push_back(absl::StrCat("request ", request_id, " was filed as ", it->second,
                                 " and, repeated, as ", ticket_id));
}

void Ledger::AcknowledgeCancel(const std::string& ticket_id) {
  absl::MutexLock lock(&mu_);
  cancelled_.insert(ticket_id);
}

void Ledger::Broken(const std::string& what) {
  absl::MutexLock lock(&mu_);
  broken_.push_back(what);
}

void Ledger::NotePerson(const std::string& ticket_id, int person) {
  absl::MutexLock lock(&mu_);
  people_[ticket_id] = person;
}

std::map<std::string, int> Ledger::people() const {
  absl::MutexLock lock(&mu_);
  return people_;
}

void Ledger::CountGone() {
  absl::MutexLock lock(&mu_);
  ++gone_;
}

int Ledger::gone() const {
  absl::MutexLock lock(&mu_);
  return gone_;
}

void Ledger::CountRepeat() {
  absl::MutexLock lock(&mu_);
  ++repeats_;
}

std::map<std::string, std::string> Ledger::tickets() const {
  absl::MutexLock lock(&mu_);
  return tickets_;
}

std::set<std::string> Ledger::cancelled() const {
  absl::MutexLock lock(&mu_);
  return cancelled_;
}

std::vector<std::string> Ledger::broken() const {
  absl::MutexLock lock(&mu_);
  return broken_;
}

int Ledger::acknowledged() const {
  absl::MutexLock lock(&mu_);
  return static_cast<int>(tickets_.size());
}

int Ledger::repeats() const {
  absl::MutexLock lock(&mu_);
  return repeats_;
}

bool Ledger::WaitForMoreThan(int count, absl::Duration patience) const {
  const auto more = [&] {
    mu_.AssertReaderHeld();
    return static_cast<int>(tickets_.size()) > count;
  };
  absl::MutexLock lock(&mu_);
  return mu_.AwaitWithTimeout(absl::Condition(&more), patience);
}

}  // namespace lethe::soak
