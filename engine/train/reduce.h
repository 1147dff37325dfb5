// What data parallel training does with a decoder's tensors: each rank has the gradient of its
// share of the sequences, the step takes their sum.
//
//   LETHE_RETURN_IF_ERROR(Meet(ranks, data_digest, {learning_rate}, model));   // once
//   ... backward over this rank's share ...
//   LETHE_RETURN_IF_ERROR(SumGradients(ranks, model));
//
// A leaf's sum is the same bits in every rank, so weights that began alike stay alike.
// Memory     none beside the gradients on the CPU and where NCCL serves; else one leaf's copy at a
//            time.
// Threads    none. Errors: those of Ranks; LibTorch's exceptions. A null `ranks` does nothing.
#ifndef LETHE_ENGINE_TRAIN_REDUCE_H_
#define LETHE_ENGINE_TRAIN_REDUCE_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "engine/model/decoder.h"
#include "engine/ranks.h"

namespace lethe {

// All ranks have the same `work` and numbers, bit by bit, else INVALID_ARGUMENT/RANKS_DIFFER; then
// all have rank 0's leaves.
absl::Status Meet(Ranks* ranks, std::string work, const std::vector<double>& numbers,
                  const Decoder& model);
absl::Status CopyWeightsFromFirst(Ranks* ranks, const Decoder& model);

// A leaf without a gradient counts as zero: other ranks may have one.
absl::Status SumGradients(Ranks* ranks, const LanguageModel& model);

}  // namespace lethe

#endif  // LETHE_ENGINE_TRAIN_REDUCE_H_
