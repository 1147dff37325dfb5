#include "storage/command/changes.h"

#include <iterator>
#include <utility>

namespace lethe::storage {
namespace {

template <typename Record>
void MergePuts(Puts<Record>& into, Puts<Record>&& later) {
  into.merge(later);  // moves those that are new; the others stay behind
  for (auto& [key, put] : later) into[key].after = std::move(put.after);
  // Their `before` stays that of the group's begin.
}

template <typename Record>
void MergeRecords(std::map<std::string, Record>& into, std::map<std::string, Record>&& later) {
  into.merge(later);
  for (auto& [key, record] : later) into[key] = std::move(record);
}

}  // namespace

bool Changes::Empty() const {
  return tickets.empty() && jobs.empty() && models.empty() && checkpoints.empty() &&
         reports.empty() && requests.empty() && requests_removed.empty() && payloads.empty() &&
         keys.empty() && destroyed.empty() && leaves.empty() && !counters.has_value();
}

void Changes::Merge(Changes&& later) {
  MergePuts(tickets, std::move(later.tickets));
  MergePuts(jobs, std::move(later.jobs));
  MergePuts(models, std::move(later.models));
  MergePuts(checkpoints, std::move(later.checkpoints));
  reports.merge(later.reports);
  // A key that this group removed and used again: its old expiry entry still has to go, so it
  // stays listed as removed.
  MergeRecords(requests, std::move(later.requests));
  for (auto& [key, request] : later.requests_removed) {
    requests.erase(key);
    requests_removed.try_emplace(key, std::move(request));
  }
  MergeRecords(payloads, std::move(later.payloads));
  MergeRecords(keys, std::move(later.keys));
  for (const std::string& ticket : later.destroyed) {
    payloads.erase(ticket);
    keys.erase(ticket);
    destroyed.insert(ticket);
  }
  std::move(later.leaves.begin(), later.leaves.end(), std::back_inserter(leaves));
  if (later.counters.has_value()) counters = std::move(later.counters);
}

}  // namespace lethe::storage
