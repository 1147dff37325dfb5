#include "engine/torch_status.h"

#include <c10/util/Exception.h>

namespace lethe {
namespace {

constexpr std::string_view kReason = "OUT_OF_MEMORY";

// The CUDA allocator throws c10::OutOfMemoryError; the CPU allocator and cuBLAS throw a plain
// c10::Error that only its text tells apart.
bool TellsOfMemory(const std::exception& error, std::string_view text) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
      dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) {
    return true;
  }
  for (const std::string_view words : {"out of memory", "can't allocate memory",
                                       "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED"}) {
    if (text.find(words) != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace

absl::Status TorchFailure(std::string_view what_doing, const std::exception& error) {
  std::string_view text = error.what();
  const bool out_of_memory = TellsOfMemory(error, text);
  text = text.substr(0, text.find('\n'));
  if (text.size() > 300) text = text.substr(0, 300);
  const std::string where = "while " + std::string(what_doing) + ": ";
  if (out_of_memory) {
    return Error(absl::StatusCode::kResourceExhausted, kReason,
                 where + "not enough memory; use smaller batches or a device with more");
  }
  return Error(absl::StatusCode::kInternal, "TORCH_ERROR", where + std::string(text));
}

bool IsOutOfMemory(const absl::Status& status) {
  return !status.ok() && ErrorReason(status) == kReason;
}

}  // namespace lethe
