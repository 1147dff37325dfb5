#include "tests/support/heap_watch.h"

#include <errno.h>
#include <malloc.h>

#include <atomic>
#include <cstddef>

namespace lethe {
namespace {

// Constant-initialised: malloc runs before any constructor.
std::atomic<int64_t> g_live{0}, g_peak{0};

void Took(int64_t bytes) {
  const int64_t now = g_live.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  int64_t peak = g_peak.load(std::memory_order_relaxed);
  while (now > peak && !g_peak.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
}

void Gave(int64_t bytes) { g_live.fetch_sub(bytes, std::memory_order_relaxed); }

}  // namespace

HeapWatch::HeapWatch() : at_begin_(g_live.load()) { g_peak.store(at_begin_); }
int64_t HeapWatch::PeakBytes() const { return g_peak.load() - at_begin_; }

}  // namespace lethe

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

// Of sanitizer/allocator_interface.h, which GCC's packages do not all bring along.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*malloc_hook)(const volatile void*,
                                                                             size_t),
                                                         void (*free_hook)(const volatile void*));
extern "C" size_t __sanitizer_get_allocated_size(const volatile void* p);

namespace lethe {
namespace {

void OnMalloc(const volatile void* p, size_t size) {
  if (p != nullptr) Took(static_cast<int64_t>(size));
}
void OnFree(const volatile void* p) {
  if (p != nullptr) Gave(static_cast<int64_t>(__sanitizer_get_allocated_size(p)));
}
[[maybe_unused]] const int g_installed =
    __sanitizer_install_malloc_and_free_hooks(OnMalloc, OnFree);

}  // namespace
}  // namespace lethe

#else

// glibc's own, under the names that stay free for those who stand in for malloc.
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* p, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* p);

void* malloc(size_t size) noexcept {
  void* p = __libc_malloc(size);
  if (p != nullptr) lethe::Took(static_cast<int64_t>(malloc_usable_size(p)));
  return p;
}

void* calloc(size_t count, size_t size) noexcept {
  void* p = __libc_calloc(count, size);
  if (p != nullptr) lethe::Took(static_cast<int64_t>(malloc_usable_size(p)));
  return p;
}

void* realloc(void* old, size_t size) noexcept {
  const auto before = static_cast<int64_t>(malloc_usable_size(old));  // 0 for null
  void* p = __libc_realloc(old, size);
  if (p != nullptr || size == 0) lethe::Gave(before);
  if (p != nullptr) lethe::Took(static_cast<int64_t>(malloc_usable_size(p)));
  return p;
}

void* memalign(size_t alignment, size_t size) noexcept {
  void* p = __libc_memalign(alignment, size);
  if (p != nullptr) lethe::Took(static_cast<int64_t>(malloc_usable_size(p)));
  return p;
}

void* aligned_alloc(size_t alignment, size_t size) noexcept { return memalign(alignment, size); }

int posix_memalign(void** out, size_t alignment, size_t size) noexcept {
  void* p = memalign(alignment, size);
  if (p == nullptr) return ENOMEM;
  *out = p;
  return 0;
}

void free(void* p) noexcept {
  if (p != nullptr) lethe::Gave(static_cast<int64_t>(malloc_usable_size(p)));
  __libc_free(p);
}
}  // extern "C"

#endif
