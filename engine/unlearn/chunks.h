// What is to be forgotten, chunk after chunk, as methods that run the loop do it.
//
//   return InChunks(input, [&](ChunkOf chunk, MicroBatch& micro_batch) {
//     ChunkRun run(input, chunk, micro_batch);
//     return run.Run();                                    // a LoopResult and its records
//   });
//
// Reads      the parameters "chunk_size" and "micro_batch_tokens".
// Stops      "thresholds_reached" where all chunks did; else the reason of the last that did not.
// Threads    none. Errors: what the run of a chunk says.
#ifndef LETHE_ENGINE_UNLEARN_CHUNKS_H_
#define LETHE_ENGINE_UNLEARN_CHUNKS_H_

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "base/status.h"
#include "engine/train/loop.h"
#include "engine/unlearn/method_table.h"

namespace lethe {

struct ChunkOf {
  std::span<const Sequence> sequences;
  size_t begin = 0;  // the first one's place in input.forget
  int number = 0;    // 0, 1, ...
};

struct ChunkOutcome {
  LoopResult loop;
  std::vector<StepRecord> records;
};

template <typename Run>  // absl::StatusOr<ChunkOutcome>(ChunkOf, MicroBatch&)
absl::StatusOr<MethodOutcome> InChunks(const MethodInput& input, const Run& run) {
  const auto wanted = static_cast<size_t>(input.parameters.at("chunk_size"));
  const size_t size = wanted == 0 ? input.forget.size() : wanted;
  MicroBatch micro_batch(static_cast<int64_t>(input.parameters.at("micro_batch_tokens")),
                         std::max(LongestOf(input.forget), LongestOf(input.retain)));
  MethodOutcome outcome{.stop_reason = "thresholds_reached"};
  ChunkOf chunk;
  for (; chunk.begin < input.forget.size(); chunk.begin += size, ++chunk.number) {
    chunk.sequences =
        input.forget.subspan(chunk.begin, std::min(size, input.forget.size() - chunk.begin));
    LETHE_ASSIGN_OR_RETURN(ChunkOutcome made, run(chunk, micro_batch));
    outcome.steps += made.loop.steps;
    if (made.loop.stop_reason != "thresholds_reached") outcome.stop_reason = made.loop.stop_reason;
    for (StepRecord& record : made.records) {
      record.step = static_cast<int64_t>(outcome.records.size()) + 1;
      outcome.records.push_back(record);
    }
  }
  outcome.micro_batch_tokens = micro_batch.tokens();
  return outcome;
}

}  // namespace lethe

#endif  // LETHE_ENGINE_UNLEARN_CHUNKS_H_
