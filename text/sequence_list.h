// Sequences that are read one by one when they are wanted: a corpus need not be in memory.
//
//   SequenceList list{.size = people.size(), .read = [&](size_t i) { return people[i]; }};
//   LETHE_ASSIGN_OR_RETURN(Sequence third, list.read(2));
//
// Threads    as `read`.
// Errors     those of `read`.
#ifndef LETHE_TEXT_SEQUENCE_LIST_H_
#define LETHE_TEXT_SEQUENCE_LIST_H_

#include <cstddef>
#include <functional>

#include "absl/status/statusor.h"
#include "text/sequence.h"

namespace lethe {

struct SequenceList {
  size_t size = 0;
  std::function<absl::StatusOr<Sequence>(size_t)> read;  // 0 to size - 1
};

}  // namespace lethe

#endif  // LETHE_TEXT_SEQUENCE_LIST_H_
