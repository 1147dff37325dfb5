// What a training step computes in.
//
//   Precision::kFp32      everything in fp32
//   Precision::kBf16      matrix products and what lies between them in bf16; the weights that the
//                         optimizer steps, their gradients, the stream that layers add to, norms'
//                         statistics, softmax and loss in fp32
//   Precision::kBf16Pure  the same, and the weights themselves are bf16, rounded stochastically by
//                         the optimizer (adam.h)
//
// Scores and metrics are fp32 whatever a step computes in: thresholds are decided by them.
#ifndef LETHE_ENGINE_PRECISION_H_
#define LETHE_ENGINE_PRECISION_H_

#include <optional>
#include <string_view>

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

}  // namespace lethe

#endif  // LETHE_ENGINE_PRECISION_H_
