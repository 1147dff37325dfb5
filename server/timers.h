// One thread that calls back at a time: long polls end with it.
//
//   timers.After(absl::Seconds(20), [this, id] { EndPoll(id); });
//
// Contract   callbacks run on the timer's thread, in the order of their times, and must not block.
//            There is no cancelling: a callback looks whether it still has something to do. The
//            destructor drops what has not run.
// Clock      the machine's steady clock: these are waits, not dates.
// Threads    any.
#ifndef LETHE_SERVER_TIMERS_H_
#define LETHE_SERVER_TIMERS_H_

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "absl/time/time.h"

namespace lethe {

class Timers {
 public:
  Timers() : thread_([this] { Work(); }) {}
  ~Timers() {
    {
      std::lock_guard lock(mu_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;

  void After(absl::Duration wait, std::function<void()> callback) {
    const auto at = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(wait);
    std::lock_guard lock(mu_);
    const auto it = waiting_.emplace(at, std::move(callback));
    if (it == waiting_.begin()) changed_.notify_all();
  }

 private:
  void Work() {
    std::unique_lock lock(mu_);
    while (!stopping_) {
      if (waiting_.empty()) {
        changed_.wait(lock);
      } else if (std::chrono::steady_clock::now() < waiting_.begin()->first) {
        changed_.wait_until(lock, waiting_.begin()->first);
      } else {
        auto node = waiting_.extract(waiting_.begin());
        lock.unlock();
        node.mapped()();
        lock.lock();
      }
    }
  }

  std::mutex mu_;
  std::condition_variable changed_;
  std::multimap<std::chrono::steady_clock::time_point, std::function<void()>> waiting_;
  bool stopping_ = false;
  std::thread thread_;  // last: starts when everything above is there
};

}  // namespace lethe

#endif  // LETHE_SERVER_TIMERS_H_
