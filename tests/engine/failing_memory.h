// Memory that runs out on command: allocations of CPU tensors, and large ones of std::vector.
//
//   FailingMemory memory;                     // one at a time, for the whole process
//   memory.FailAt(17);                        // the 17th from now on throws, once
//   memory.LimitTo(1 << 20);                  // whatever goes beyond 1 MiB of tensors throws
//   memory.allocations();  memory.peak_bytes();
//
// A test that uses it lists failing_memory.cc among its sources: it replaces operator new.
// Threads    any may allocate.
#ifndef LETHE_TESTS_ENGINE_FAILING_MEMORY_H_
#define LETHE_TESTS_ENGINE_FAILING_MEMORY_H_

#include <cstdint>

namespace lethe {

class FailingMemory {
 public:
  FailingMemory();  // counts, and lets all through
  ~FailingMemory();
  FailingMemory(const FailingMemory&) = delete;
  FailingMemory& operator=(const FailingMemory&) = delete;

  // The n-th allocation from now on fails as the C++ library's do (std::bad_alloc); where n is a
  // multiple of 8 and it is a tensor's, as a device's do (c10::OutOfMemoryError). 0: none.
  void FailAt(int64_t n);
  // Tensors that would hold more than so many bytes together fail until the limit is lifted (0).
  void LimitTo(int64_t bytes);

  bool failed() const;          // since the last FailAt or LimitTo
  int64_t allocations() const;  // since the last FailAt
  int64_t peak_bytes() const;   // of tensors at a time, since the last LimitTo
};

}  // namespace lethe

#endif  // LETHE_TESTS_ENGINE_FAILING_MEMORY_H_
