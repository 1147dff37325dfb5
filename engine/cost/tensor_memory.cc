#include "engine/cost/tensor_memory.h"

#include <c10/core/Allocator.h>

#include <atomic>

namespace lethe {

class TensorMemory::Counter : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, int64_t alloc_size, size_t, size_t, c10::Device) override {
    const int64_t now = bytes_ += alloc_size;  // negative when it is given back
    for (int64_t peak = peak_; now > peak && !peak_.compare_exchange_weak(peak, now);) {
    }
  }
  bool memoryProfilingEnabled() const override { return true; }
  int64_t bytes() const { return bytes_; }
  int64_t peak_bytes() const { return peak_; }

 private:
  // The backward pass of a GPU has a thread of its own.
  std::atomic<int64_t> bytes_{0}, peak_{0};
};

TensorMemory::TensorMemory()
    : counter_(std::make_shared<Counter>()), guard_(c10::DebugInfoKind::PROFILER_STATE, counter_) {}

int64_t TensorMemory::bytes() const { return counter_->bytes(); }
int64_t TensorMemory::peak_bytes() const { return counter_->peak_bytes(); }

}  // namespace lethe
