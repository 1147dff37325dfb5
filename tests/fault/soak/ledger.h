// Ledger: what the server has promised so far, and where it broke its word.
//
//   ledger.Acknowledge("r-17", ticket.ticket_id());   // the same request id: the same ticket
//   for (const std::string& broken : ledger.broken()) ...
//
// Threads    any.
#ifndef LETHE_TESTS_FAULT_SOAK_LEDGER_H_
#define LETHE_TESTS_FAULT_SOAK_LEDGER_H_

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace lethe::soak {

class Ledger {
 public:
  // An answer of the server: `request_id` was filed as `ticket_id`.
  void Acknowledge(const std::string& request_id, const std::string& ticket_id);
  void AcknowledgeCancel(const std::string& ticket_id);
  // The ticket is about this person of the world.
  void NotePerson(const std::string& ticket_id, int person);
  // The corpus had nothing of a person (any more).
  void CountGone();
  // Anything that must not happen.
  void Broken(const std::string& what);
  void CountRepeat();

  std::map<std::string, std::string> tickets() const;  // request id -> ticket id
  std::set<std::string> cancelled() const;
  std::vector<std::string> broken() const;
  int acknowledged() const;
  std::map<std::string, int> people() const;  // ticket id -> person
  int gone() const;
  int repeats() const;  // acknowledged calls that were made once more
  // Waits until more than `count` tickets are acknowledged; false when the time is over.
  bool WaitForMoreThan(int count, absl::Duration patience) const;

 private:
  mutable absl::Mutex mu_;
  std::map<std::string, std::string> tickets_ ABSL_GUARDED_BY(mu_);
  std::set<std::string> cancelled_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> broken_ ABSL_GUARDED_BY(mu_);
  int repeats_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<std::string, int> people_ ABSL_GUARDED_BY(mu_);
  int gone_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace lethe::soak

#endif  // LETHE_TESTS_FAULT_SOAK_LEDGER_H_
