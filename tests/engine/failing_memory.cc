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

// Lies before each tensor's memory: who asks for plain memory (oneDNN does) gives back nothing but
// its address. As long as a tensor is aligned.
struct alignas(64) Held {
  c10::DataPtr whole;
  int64_t bytes;
};
static_assert(sizeof(Held) == 64);

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
    c10::DataPtr whole = real_->allocate(n + sizeof(Held));
    auto* held = static_cast<Held*>(whole.get());
    new (held) Held{std::move(whole), bytes};
    void* data = held + 1;
    return {data, data, &Free, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &Free; }
  void copy_data(void* to, const void* from, size_t n) const override {
    real_->copy_data(to, from, n);
  }

 private:
  static void Free(void* context) {
    auto* held = static_cast<Held*>(context) - 1;
    g_live -= held->bytes;
    const c10::DataPtr whole = std::move(held->whole);  // the header lies in it
    held->~Held();
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
