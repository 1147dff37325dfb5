// How many bytes of tensors stand in memory, as LibTorch's allocators report them.
//
//   TensorMemory memory;              // counts from here on, for this thread and its backward pass
//   at::Tensor hidden = ...;
//   memory.bytes();                   // what was taken and not given back since
//   memory.peak_bytes();              // the most that this was
//
// What stood before is not counted; when that is given back meanwhile, nothing changes.
// Threads    counts what the thread that made it takes and gives back: make, ask and destroy it
//            there. Scratch of our own loops and of MKL is not counted.
#ifndef LETHE_ENGINE_COST_TENSOR_MEMORY_H_
#define LETHE_ENGINE_COST_TENSOR_MEMORY_H_

#include <c10/util/ThreadLocalDebugInfo.h>

#include <cstdint>
#include <memory>

namespace lethe {

class TensorMemory {
 public:
  TensorMemory();
  int64_t bytes() const;
  int64_t peak_bytes() const;

 private:
  class Counter;
  std::shared_ptr<Counter> counter_;
  c10::DebugInfoGuard guard_;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_COST_TENSOR_MEMORY_H_
