// How many tokens go through the model at a time, and what is left to try when memory runs out.
//
//   MicroBatch micro_batch(4096, LongestOf(sequences));
//   MakeBatches(model, sequences, {.max_tokens = micro_batch.tokens()});
//   if (ran_out_of_memory && micro_batch.Halve()) ... once more ...
//
// A step is normalised by the labelled tokens (or sequences) of all its micro-batches, so a smaller
// one makes the same update up to rounding; it only takes longer. It is never made larger again: a
// device that was full once will be full again.
// Floor      the longest sequence: a micro-batch of shorter ones needs no more than that one alone.
// Threads    one at a time. Errors: none.
#ifndef LETHE_ENGINE_TRAIN_MICRO_BATCH_H_
#define LETHE_ENGINE_TRAIN_MICRO_BATCH_H_

#include <algorithm>
#include <cstdint>
#include <span>

#include "text/sequence.h"

namespace lethe {

// Tokens of the longest; 0 for none.
inline int64_t LongestOf(std::span<const Sequence> sequences) {
  size_t longest = 0;
  for (const Sequence& sequence : sequences) longest = std::max(longest, sequence.ids.size());
  return static_cast<int64_t>(longest);
}

class MicroBatch {
 public:
  MicroBatch(int64_t tokens, int64_t longest) : tokens_(tokens), longest_(longest) {}

  int64_t tokens() const { return tokens_; }  // at most, pads included
  int64_t longest() const { return longest_; }
  int halvings() const { return halvings_; }

  // False when it is one sequence already: nothing has changed then.
  bool Halve() {
    if (tokens_ <= longest_) return false;
    tokens_ = std::max(tokens_ / 2, longest_);
    ++halvings_;
    return true;
  }

 private:
  int64_t tokens_;
  const int64_t longest_;
  int halvings_ = 0;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_TRAIN_MICRO_BATCH_H_
