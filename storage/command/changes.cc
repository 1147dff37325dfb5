#include "storage/command/changes.h"

namespace lethe::storage {
namespace {

template <typename Record>
void MergePuts(Puts<Record>& into, const Puts<Record>& later) {
  for (const auto& [key, put] : later) {
    auto [it, fresh] = into.try_emplace(key, put);
    if (!fresh) it->second.after = put.after;  // `before` stays that of the group's begin
  }
}

}  // namespace

bool Changes::Empty() const {
  return tickets.empty() && jobs.empty() && models.empty() && checkpoints.empty() &&
         reports.empty() && requests.empty() && requests_removed.empty() && payloads.empty() &&
         keys.empty() && destroyed.empty() && leaves.empty() && !counters.has_value();
}

void Changes::Merge(const Changes& later) {
  MergePuts(tickets, later.tickets);
  MergePuts(jobs, later.jobs);
  MergePuts(models, later.models);
  MergePuts(checkpoints, later.checkpoints);
  reports.insert(later.reports.begin(), later.reports.end());
  for (const auto& [key, request] : later.requests) {
    requests.insert_or_assign(key, request);
    // A key that this group removed and used again: its old expiry entry still has to go, so it
    // stays listed as removed.
  }
  for (const auto& [key, request] : later.requests_removed) {
    requests.erase(key);
    requests_removed.try_emplace(key, request);
  }
  for (const auto& [ticket, payload] : later.payloads) payloads.insert_or_assign(ticket, payload);
  for (const auto& [ticket, key] : later.keys) keys.insert_or_assign(ticket, key);
  for (const std::string& ticket : later.destroyed) {
    payloads.erase(ticket);
    keys.erase(ticket);
    destroyed.insert(ticket);
  }
  leaves.insert(leaves.end(), later.leaves.begin(), later.leaves.end());
  if (later.counters.has_value()) counters = later.counters;
}

}  // namespace lethe::storage
