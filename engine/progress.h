// How long work tells how far it is, and how it is stopped.
//
//   auto progress = [&](const EngineProgress& p) { Show(p); return !stop.load(); };
//
// Stop       the callback returns false: the call then ends with CANCELLED/STOPPED and leaves
//            nothing behind.
// Threads    the callback runs on the thread that called the engine, at least once for each
//            optimizer step or batch of an attack; what it takes is added to the run.
#ifndef LETHE_ENGINE_PROGRESS_H_
#define LETHE_ENGINE_PROGRESS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "base/status.h"

namespace lethe {

struct EngineProgress {
  std::string phase;      // "loading", "unlearning", "training", "measuring", "attacking", "saving"
  int64_t step = 0;       // done in this phase
  int64_t max_steps = 0;  // at most; 0: not known
  // "loss", "grad_norm", "ma", "el_10", "nll"; "micro_batch_tokens" once memory has been short
  std::map<std::string, double> figures;
};

using ProgressCallback = std::function<bool(const EngineProgress&)>;

// Calls it, when there is one. CANCELLED/STOPPED when it says so.
inline absl::Status Report(const ProgressCallback& callback, const EngineProgress& progress) {
  if (callback == nullptr || callback(progress)) return absl::OkStatus();
  return Error(absl::StatusCode::kCancelled, "STOPPED",
               "the run was stopped by its caller; nothing was written");
}

}  // namespace lethe

#endif  // LETHE_ENGINE_PROGRESS_H_
