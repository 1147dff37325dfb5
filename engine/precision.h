// What a training step computes in.
//
//   Precision::kFp32      everything in fp32
//   Precision::kBf16      matrix products and what lies between them in bf16; the weights that the
//                         optimizer steps, their gradients, the stream that layers add to, norms'
//                         statistics, softmax and loss in fp32
//   Precision::kBf16Pure  the same, and the weights themselves are bf16, rounded stochastically by
//                         the optimizer (adam.h)
//
// What is asked for is one of their names or "auto", which says by size and memory:
//
//   LETHE_ASSIGN_OR_RETURN(Precision precision, ChoosePrecision("auto", parameters, device));
//
// Scores and metrics are fp32 whatever a step computes in: thresholds are decided by them.
#ifndef LETHE_ENGINE_PRECISION_H_
#define LETHE_ENGINE_PRECISION_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/status.h"
#include "engine/device.h"

namespace lethe {

enum class Precision { kFp32, kBf16, kBf16Pure };

inline constexpr std::string_view kPrecisionNames[] = {"fp32", "bf16", "bf16_pure"};

inline std::string_view NameOf(Precision precision) {
  return kPrecisionNames[static_cast<int>(precision)];
}

inline std::optional<Precision> PrecisionNamed(std::string_view name) {
  for (const Precision p : {Precision::kFp32, Precision::kBf16, Precision::kBf16Pure}) {
    if (NameOf(p) == name) return p;
  }
  return std::nullopt;
}

// auto     bf16_pure where the device computes with bf16 and a step with fp32 weights, 18 bytes a
//          parameter, takes more than four fifths of the memory; bf16 on a GPU, for a model large
//          enough for its products to count (20 million weights); else fp32. On a CPU bf16 is asked
//          for by name: that it ends the same was shown on a small model only.
// Errors   INVALID_ARGUMENT/BAD_PARAMETER for a name that is none.
absl::StatusOr<Precision> ChoosePrecision(std::string_view wanted, int64_t parameters,
                                          const Device& device);

// The same, where all is known already.
struct PrecisionDevice {
  double memory_bytes = 0;
  bool computes_bf16 = false;
  bool is_gpu = false;
};
Precision AutomaticPrecision(int64_t parameters, const PrecisionDevice& device);

// Whether this machine's processor multiplies bf16 (AVX512_BF16 or AMX).
bool CpuComputesBf16();

}  // namespace lethe

#endif  // LETHE_ENGINE_PRECISION_H_
