// The header of a safetensors file, parsed and checked: no memory behind it is needed.
//
//   LETHE_ASSIGN_OR_RETURN(SafetensorsHeader header, ParseSafetensorsHeader(json, data_bytes));
//
// One pass over the JSON with a fixed depth and no tree: a header of 100 MB of brackets costs
// nothing. Errors as safetensors.h, without the file's name.
#ifndef LETHE_ENGINE_CHECKPOINT_SAFETENSORS_HEADER_H_
#define LETHE_ENGINE_CHECKPOINT_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/checkpoint/safetensors.h"

namespace lethe {

inline constexpr uint64_t kHeaderLimitBytes = 100'000'000;  // the format's own limit

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  // as their bytes lie
  SafetensorsMetadata metadata;
};

// `data_bytes` is what the file holds behind the header.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view json,
                                                         uint64_t data_bytes);

// The header for tensors in this order, with its length before it and padded to 8 bytes;
// `*data_bytes` becomes the length of the data.
absl::StatusOr<std::string> MakeSafetensorsHeader(std::span<const TensorInfo> tensors,
                                                  const SafetensorsMetadata& metadata,
                                                  uint64_t* data_bytes);

}  // namespace lethe

#endif  // LETHE_ENGINE_CHECKPOINT_SAFETENSORS_HEADER_H_
