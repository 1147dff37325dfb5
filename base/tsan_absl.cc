// Only in builds with ThreadSanitizer: tells it of abseil's locks.
//
// The machine's abseil is not built with TSan, so that a lock of it orders nothing in TSan's eyes:
// every piece of state that is guarded by an absl::Mutex then looks like a race (one test of the
// store: 8,451 reports). This library stands before libabsl_synchronization in the order of
// symbols. It answers for the calls that the house uses, tells TSan what they order, and hands on
// to the real ones. Nothing is hidden: a race between two accesses that no lock orders is reported
// as before.
//
// Conditions of Await are called by abseil with the lock held, inside calls of other threads; TSan
// cannot know that the lock is held there, so reads of conditions are not looked at. Their
// functions only read. Not told: Notification::HasBeenNotified, which is inline.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

// Of libtsan.
extern "C" void __tsan_acquire(void* object);
extern "C" void __tsan_release(void* object);
extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);

namespace {

struct IgnoreReads {
  IgnoreReads() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~IgnoreReads() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
};

// The function of the same name behind this one. abseil's namespace has a version in its name, so
// the name is looked up, not written.
void* Real(void* mine) {
  Dl_info info;
  void* real = dladdr(mine, &info) != 0 && info.dli_sname != nullptr
                   ? dlsym(RTLD_NEXT, info.dli_sname)
                   : nullptr;
  if (real == nullptr) {
    std::fprintf(stderr, "tsan_absl: no abseil behind %s\n", info.dli_sname);
    std::abort();
  }
  return real;
}

// The real function as one that takes the object first, which is how members are called here.
template <typename Result, typename... Arguments>
using Function = Result (*)(Arguments...);

void Released(const void* object) { __tsan_release(const_cast<void*>(object)); }
void Acquired(const void* object) { __tsan_acquire(const_cast<void*>(object)); }

}  // namespace

#pragma GCC diagnostic ignored "-Wpmf-conversions"
#define LETHE_REAL(Result, member, ...) \
  static const auto real =              \
      reinterpret_cast<Function<Result, __VA_ARGS__>>(Real(reinterpret_cast<void*>(&member)))

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  LETHE_REAL(void, Mutex::Lock, Mutex*);
  real(this);
  Acquired(this);
}

bool Mutex::TryLock() {
  LETHE_REAL(bool, Mutex::TryLock, Mutex*);
  const bool locked = real(this);
  if (locked) Acquired(this);
  return locked;
}

void Mutex::Unlock() {
  LETHE_REAL(void, Mutex::Unlock, Mutex*);
  Released(this);
  const IgnoreReads ignore;
  real(this);
}

void Mutex::ReaderLock() {
  LETHE_REAL(void, Mutex::ReaderLock, Mutex*);
  real(this);
  Acquired(this);
}

void Mutex::ReaderUnlock() {
  LETHE_REAL(void, Mutex::ReaderUnlock, Mutex*);
  Released(this);
  const IgnoreReads ignore;
  real(this);
}

void Mutex::LockWhen(const Condition& condition) {
  LETHE_REAL(void, Mutex::LockWhen, Mutex*, const Condition&);
  {
    const IgnoreReads ignore;
    real(this, condition);
  }
  Acquired(this);
}

void Mutex::Await(const Condition& condition) {
  LETHE_REAL(void, Mutex::Await, Mutex*, const Condition&);
  Released(this);
  {
    const IgnoreReads ignore;
    real(this, condition);
  }
  Acquired(this);
}

bool Mutex::AwaitWithTimeout(const Condition& condition, Duration timeout) {
  LETHE_REAL(bool, Mutex::AwaitWithTimeout, Mutex*, const Condition&, Duration);
  Released(this);
  bool met;
  {
    const IgnoreReads ignore;
    met = real(this, condition, timeout);
  }
  Acquired(this);
  return met;
}

bool Mutex::AwaitWithDeadline(const Condition& condition, Time deadline) {
  LETHE_REAL(bool, Mutex::AwaitWithDeadline, Mutex*, const Condition&, Time);
  Released(this);
  bool met;
  {
    const IgnoreReads ignore;
    met = real(this, condition, deadline);
  }
  Acquired(this);
  return met;
}

void Notification::Notify() {
  LETHE_REAL(void, Notification::Notify, Notification*);
  Released(this);
  real(this);
}

void Notification::WaitForNotification() const {
  LETHE_REAL(void, Notification::WaitForNotification, const Notification*);
  real(this);
  Acquired(this);
}

bool BlockingCounter::DecrementCount() {
  LETHE_REAL(bool, BlockingCounter::DecrementCount, BlockingCounter*);
  Released(this);
  return real(this);
}

void BlockingCounter::Wait() {
  LETHE_REAL(void, BlockingCounter::Wait, BlockingCounter*);
  real(this);
  Acquired(this);
}

ABSL_NAMESPACE_END
}  // namespace absl
