#include "client/stop.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <utility>

namespace lethe {
namespace {

// Ends the signal thread; never sent to the process from outside.
constexpr int kLeave = SIGUSR2;

sigset_t HandledSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, kLeave);
  return set;
}

}  // namespace

void Stop::Request() {
  absl::MutexLock lock(&mu_);
  requested_ = true;
  for (auto& [key, action] : actions_) action();
  actions_.clear();
}

bool Stop::requested() const {
  absl::MutexLock lock(&mu_);
  return requested_;
}

bool Stop::WaitFor(absl::Duration duration) const {
  absl::MutexLock lock(&mu_);
  return mu_.AwaitWithTimeout(absl::Condition(&requested_), duration);
}

Stop::Subscription::Subscription(Stop* stop, std::function<void()> action) : stop_(stop) {
  absl::MutexLock lock(&stop_->mu_);
  if (stop_->requested_) {
    action();
    return;
  }
  key_ = stop_->next_key_++;
  stop_->actions_.emplace(key_, std::move(action));
}

Stop::Subscription::~Subscription() {
  absl::MutexLock lock(&stop_->mu_);
  stop_->actions_.erase(key_);
}

StopOnSignals::StopOnSignals(Stop* stop) {
  const sigset_t set = HandledSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = std::thread([stop, set] {
    for (int count = 0;;) {
      int signal = 0;
      if (sigwait(&set, &signal) != 0 || signal == kLeave) return;
      if (++count > 1) _exit(130);
      stop->Request();
    }
  });
}

StopOnSignals::~StopOnSignals() {
  pthread_kill(thread_.native_handle(), kLeave);
  thread_.join();
}

}  // namespace lethe
