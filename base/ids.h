// Identifiers and counters as types, so that a fence is never passed where a generation is wanted.
//
//   Fence next = store_fence.Next();
//   if (call_fence != job_fence) return LeaseLost(job);
//
// Tickets, jobs and checkpoints have ids written as text: "t-", "j-" or "c-" and 32 hex digits.
// Those of tickets begin with the time (NewOrderedId, base/random.h), those of checkpoints are a
// digest (base/model_layout.h), those of jobs are random. Models are named by people: 1 to 63 of
// [a-z0-9-], beginning with a letter.
#ifndef LETHE_BASE_IDS_H_
#define LETHE_BASE_IDS_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace lethe {

// A counter with a type of its own. Zero means "none yet".
template <typename Tag>
struct Counter {
  uint64_t value = 0;
  Counter Next() const { return Counter{value + 1}; }
  friend bool operator==(Counter, Counter) = default;
  friend auto operator<=>(Counter, Counter) = default;
};

using Fence = Counter<struct FenceTag>;            // drawn at each lease, only grows, store-wide
using Generation = Counter<struct GenerationTag>;  // of a model: how many promotions it has had
using LogIndex = Counter<struct LogIndexTag>;      // position of an audit leaf

// An opaque text id with a type of its own.
template <typename Tag>
struct TextId {
  std::string value;
  bool empty() const { return value.empty(); }
  friend bool operator==(const TextId&, const TextId&) = default;
  friend auto operator<=>(const TextId&, const TextId&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const TextId& id) {
    return H::combine(std::move(h), id.value);
  }
};

using TicketId = TextId<struct TicketTag>;
using JobId = TextId<struct JobTag>;
using CheckpointId = TextId<struct CheckpointTag>;
using ModelId = TextId<struct ModelTag>;

// True for `prefix` ('t', 'j', 'c') + "-" + 32 lower-case hex digits.
inline bool IsRandomId(std::string_view text, char prefix) {
  if (text.size() != 34 || text[0] != prefix || text[1] != '-') return false;
  for (char c : text.substr(2)) {
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
  }
  return true;
}

// True for a name that a model may have.
inline bool IsModelName(std::string_view text) {
  if (text.empty() || text.size() > 63 || !(text[0] >= 'a' && text[0] <= 'z')) return false;
  for (char c : text) {
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-')) return false;
  }
  return true;
}

}  // namespace lethe

#endif  // LETHE_BASE_IDS_H_
