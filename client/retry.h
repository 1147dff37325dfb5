// When a failed call is repeated, and after which pause.
//
//   Backoff backoff(policy, random);
//   while (ShouldRetry(status, Repeat::kSafe)) { stop->WaitFor(backoff.Next(status)); ... }
//
// Pauses have full jitter: uniform between 0 and a bound that doubles, so that a thousand workers
// do not come back in step after a server's restart. What the server asks for (RetryInfo) is a
// floor.
//
// Threads    a Backoff belongs to one thread.
#ifndef LETHE_CLIENT_RETRY_H_
#define LETHE_CLIENT_RETRY_H_

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/random.h"

namespace lethe {

struct RetryPolicy {
  absl::Duration first_pause = absl::Milliseconds(100);  // bound of the first pause
  absl::Duration longest_pause = absl::Seconds(10);
  int max_attempts = 6;  // calls in all; 0: no limit
};

// Whether doing a call twice does the same as doing it once.
enum class Repeat {
  kSafe,    // reads, and writes with a request id, an etag or a fence
  kUnsafe,  // the second call would be refused or do more: repeated only when the first surely did
            // nothing
};

// The table, by code and reason:
//   UNAVAILABLE, SERVER_DRAINING         always: the server refused it before doing anything
//   RESOURCE_EXHAUSTED with a RetryInfo  always, likewise (TOO_MANY_CALLS, STORE_BUSY, QUEUE_FULL)
//   UNAVAILABLE with any other reason    when safe
//   CANCELLED                            when safe: a server that shuts down cancels what comes too
//                                        late
//   DEADLINE_EXCEEDED                    when safe
//   anything else                        never
bool ShouldRetry(const absl::Status& status, Repeat repeat);

class Backoff {
 public:
  Backoff(const RetryPolicy& policy, Random* random) : policy_(policy), random_(random) {}
  // The next pause, after a call that ended with `status`.
  absl::Duration Next(const absl::Status& status);
  int pauses() const { return pauses_; }
  void Reset() { pauses_ = 0; }

 private:
  const RetryPolicy policy_;
  Random* const random_;
  int pauses_ = 0;
};

// Uniform in [0, bound).
absl::Duration Jitter(absl::Duration bound, Random* random);

}  // namespace lethe

#endif  // LETHE_CLIENT_RETRY_H_
