// Weights that are NaN or infinite, found in the file's bytes: one pass at the memory's speed, no
// tensor library.
//
//   LETHE_RETURN_IF_ERROR(CheckFinite(config, folder));
//
// A model with one such weight scores NaN on everything, and a NaN compares as false with every
// threshold: it is refused by the tensor's name before anything is measured.
// Errors     FAILED_PRECONDITION/MODEL_NOT_FINITE, metadata "tensor" and "element".
// Threads    free functions; any.
#ifndef LETHE_ENGINE_CHECKPOINT_FINITE_H_
#define LETHE_ENGINE_CHECKPOINT_FINITE_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "engine/checkpoint/checkpoint_folder.h"
#include "engine/checkpoint/decoder_config.h"

namespace lethe {

// The first element of F16, BF16, F32 or F64 that is NaN or infinite, row-major; nothing where all
// are finite, or the type has no such values.
std::optional<uint64_t> FirstNotFinite(DType dtype, std::string_view bytes);

// Every weight that the model reads. The folder's tensors must have been checked (CheckTensors).
absl::Status CheckFinite(const DecoderConfig& config, const CheckpointFolder& folder);

}  // namespace lethe

#endif  // LETHE_ENGINE_CHECKPOINT_FINITE_H_
