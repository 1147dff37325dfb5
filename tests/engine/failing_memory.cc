#include "tests/engine/failing_memory.h"

#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <utility>

namespace lethe {
namespace {

// Smaller ones of C++ are strings and handles, of which there are thousands; the large ones are
// caches and scratch.
constexpr size_t kLargeBytes = 1 << 10;

std::atomic<bool> g_watched{false}, g_failed{false};
std::atomic<int64_t> g_count{0}, g_fail_at{0};
std::atomic<int64_t> g_live{0}, g_peak{0}, g_limit{0};

bool ShouldFail() {
  if (!g_watched) return false;
  const int64_t n = ++g_count;
  if (n != g_fail_at) return false;
  g_failed = true;
  return true;
}

// Adds `bytes` of tensors unless they are beyond the limit.
bool Take(int64_t bytes) {
  const int64_t now = g_live += bytes;
  if (g_limit > 0 && now > g_limit) {
    g_live -= bytes;
    g_failed = true;
    return false;
  }
  if (now > g_peak) g_peak = now;
  return true;
}

struct Held {
  c10::DataPtr data;
  int64_t bytes;
};

class Allocator : public c10::Allocator {
 public:
  explicit Allocator(c10::Allocator* real) : real_(real) {}
  c10::DataPtr allocate(size_t n) override {
    if (ShouldFail()) {
      if (g_fail_at % 8 != 0) throw std::bad_alloc();  // the other looks up a stack trace
      TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory. Tried to allocate ", n);
    }
    const auto bytes = static_cast<int64_t>(n);
    TORCH_CHECK(Take(bytes), "DefaultCPUAllocator: can't allocate memory: you tried to allocate ",
                n, " bytes.");
    auto* held = new Held{real_->allocate(n), bytes};
    void* data = held->data.get();
    return {data, held, &Free, c10::Device(c10::kCPU)};
  }
  void copy_data(void* to, const void* from, size_t n) const override {
    real_->copy_data(to, from, n);
  }

 private:
  static void Free(void* context) {
    auto* held = static_cast<Held*>(context);
    g_live -= held->bytes;
    delete held;
  }
  c10::Allocator* const real_;
};

Allocator& Instance() {
  // Stays for good: tensors that outlive the test must still find it.
  static auto* const instance = new Allocator(c10::GetCPUAllocator());
  return *instance;
}

}  // namespace

FailingMemory::FailingMemory() {
  static const bool installed = [] {
    c10::SetCPUAllocator(&Instance(), /*priority=*/255);
    return true;
  }();
  g_watched = installed;
  FailAt(0);
  LimitTo(0);
}

FailingMemory::~FailingMemory() {
  g_watched = false;
  LimitTo(0);
}

void FailingMemory::FailAt(int64_t n) {
  g_failed = false;
  g_count = 0;
  g_fail_at = n;
}

void FailingMemory::LimitTo(int64_t bytes) {
  g_failed = false;
  g_limit = bytes;
  g_peak = g_live.load();
}

bool FailingMemory::failed() const { return g_failed; }
int64_t FailingMemory::allocations() const { return g_count; }
int64_t FailingMemory::peak_bytes() const { return g_peak; }

}  // namespace lethe

// The library's array forms call these; so would its nothrow form, but a sanitizer has one of its own
// that does not.
void* operator new(size_t size) {
  if (size >= lethe::kLargeBytes && lethe::ShouldFail()) throw std::bad_alloc();
  void* p = std::malloc(size);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return size >= lethe::kLargeBytes && lethe::ShouldFail() ? nullptr : std::malloc(size);
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
