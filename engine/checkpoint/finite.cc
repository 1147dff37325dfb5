#include "engine/checkpoint/finite.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "engine/checkpoint/decoder_tensors.h"

namespace lethe {
namespace {

// The exponent's bits of each type: all of them set means NaN or infinity.
constexpr uint16_t kF16Exponent = 0x7c00, kBF16Exponent = 0x7f80;
constexpr uint32_t kF32Exponent = 0x7f800000;
constexpr uint64_t kF64Exponent = 0x7ff0000000000000;

// Whole blocks without a branch, which compilers turn into lanes; only a block that has one is
// searched.
template <typename Word>
std::optional<uint64_t> FirstWith(Word exponent, std::string_view bytes) {
  constexpr uint64_t kBlock = 1024;
  const uint64_t count = bytes.size() / sizeof(Word);
  const auto is_bad = [exponent](Word word) { return (word & exponent) == exponent; };
  Word words[kBlock];
  for (uint64_t begin = 0; begin < count; begin += kBlock) {
    const uint64_t here = std::min(kBlock, count - begin);
    std::memcpy(words, bytes.data() + begin * sizeof(Word), here * sizeof(Word));  // not aligned
    Word any = 0;
    for (uint64_t i = 0; i < here; ++i) any |= static_cast<Word>(is_bad(words[i]));
    if (any == 0) continue;
    return begin + static_cast<uint64_t>(std::find_if(words, words + here, is_bad) - words);
  }
  return std::nullopt;
}

}  // namespace

std::optional<uint64_t> FirstNotFinite(DType dtype, std::string_view bytes) {
  switch (dtype) {
    case DType::kF16:
      return FirstWith(kF16Exponent, bytes);
    case DType::kBF16:
      return FirstWith(kBF16Exponent, bytes);
    case DType::kF32:
      return FirstWith(kF32Exponent, bytes);
    case DType::kF64:
      return FirstWith(kF64Exponent, bytes);
    default:
      return std::nullopt;
  }
}

absl::Status CheckFinite(const DecoderConfig& config, const CheckpointFolder& folder) {
  for (const TensorRule& rule : DecoderTensors(config)) {
    const TensorInfo* tensor = folder.Find(rule.name);
    if (tensor == nullptr) continue;  // CheckTensors has spoken for it
    const auto element = FirstNotFinite(tensor->dtype, folder.Bytes(*tensor));
    if (!element.has_value()) continue;
    return Error(absl::StatusCode::kFailedPrecondition, "MODEL_NOT_FINITE",
                 absl::StrCat("tensor ", rule.name, " holds NaN or infinity, first at element ",
                              *element, " of ", tensor->elements(),
                              "; such a model gives no likelihoods: restore or retrain it"),
                 {{"tensor", rule.name}, {"element", absl::StrCat(*element)}});
  }
  return absl::OkStatus();
}

}  // namespace lethe
