// Plain training on sequences: the batches and the loss of each step, as hooks of the loop.
//
//   Descent descent(model, list, {.batch_tokens = 4096, .seed = 7}, micro_batch);
//   LETHE_ASSIGN_OR_RETURN(LoopResult loop, RunLoop(model, descent.Hooks(), options, progress));
//   descent.LastLoss();
//
// Each sequence is one row, never packed with another. Rows come epoch by epoch, in an order made
// from the seed; a batch takes rows until its tokens are there, and may end one epoch and begin the
// next. The loss is the mean over all labelled tokens of the step.
// Lifetime   model, list and micro-batch must outlive it, and it its hooks.
// Threads    one.
// Errors     what the list's `read` returns.
#ifndef LETHE_ENGINE_TRAIN_DESCENT_H_
#define LETHE_ENGINE_TRAIN_DESCENT_H_

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "engine/model/decoder.h"
#include "engine/ranks.h"
#include "engine/seeded_generator.h"
#include "engine/train/loop.h"
#include "text/sequence.h"
#include "text/sequence_list.h"

namespace lethe {

struct DescentOptions {
  int64_t batch_tokens = 4096;
  uint64_t seed = 0;
  Ranks* ranks = nullptr;
};

class Descent {
 public:
  Descent(const Decoder& model, const SequenceList& list, const DescentOptions& options,
          MicroBatch& micro_batch);

  LoopHooks Hooks();
  double FirstLoss() const { return losses_.front(); }  // nats a token, before the first step
  double LastLoss() const;                              // mean over the last 20 steps

 private:
  absl::StatusOr<std::vector<Sequence>> NextBatch();
  absl::StatusOr<std::vector<StepPart>> Parts(int64_t step);

  const Decoder& model_;
  const SequenceList& list_;
  const DescentOptions options_;
  MicroBatch& micro_batch_;
  SeededGenerator random_;
  std::vector<size_t> order_;
  size_t next_;
  std::vector<Sequence> rows_;
  int64_t drawn_ = 0;           // the step that rows_ are of
  std::vector<double> losses_;  // one a step
};

// Warm-up over `warmup` steps, then linear down to a tenth of the peak at `steps`.
double WarmupThenLinear(double peak, int64_t step, int64_t warmup, int64_t steps);

}  // namespace lethe

#endif  // LETHE_ENGINE_TRAIN_DESCENT_H_
