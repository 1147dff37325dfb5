// Threads for what a handler must not do: read files, tokenise, digest folders.
//
//   background.Run([call, this] { call->Finish(CheckPaths(call->request)); });
//
// Contract   every accepted task runs, also when the destructor was called meanwhile. Run says
//            false when too many wait: refuse the caller then.
// Threads    any.
#ifndef LETHE_SERVER_BACKGROUND_H_
#define LETHE_SERVER_BACKGROUND_H_

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace lethe {

class Background {
 public:
  Background(int threads, size_t max_waiting);
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  [[nodiscard]] bool Run(std::function<void()> task);

 private:
  void Work();
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stopping_ || !tasks_.empty(); }

  const size_t max_waiting_;
  absl::Mutex mu_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace lethe

#endif  // LETHE_SERVER_BACKGROUND_H_
