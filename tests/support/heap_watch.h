// How much of the heap a piece of work holds at most: every malloc of the process counts, those of
// C++, Rust and LibTorch too.
//
//   HeapWatch watch;
//   Open(file);
//   EXPECT_LE(watch.PeakBytes(), 64 * file_bytes + 4096);
//
// A test that wants it lists heap_watch.cc among its sources: the file puts itself in the place of
// malloc (under a sanitizer it hangs on the sanitizer's hooks).
// Threads    one HeapWatch at a time; what other threads allocate meanwhile counts too.
#ifndef LETHE_TESTS_SUPPORT_HEAP_WATCH_H_
#define LETHE_TESTS_SUPPORT_HEAP_WATCH_H_

#include <cstdint>

namespace lethe {

class HeapWatch {
 public:
  HeapWatch();  // from here on
  // Bytes that stood at the same time beyond those that stood at the beginning.
  int64_t PeakBytes() const;

 private:
  int64_t at_begin_;
};

}  // namespace lethe

#endif  // LETHE_TESTS_SUPPORT_HEAP_WATCH_H_
