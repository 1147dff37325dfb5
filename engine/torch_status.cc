#include "engine/torch_status.h"

namespace lethe {
namespace {

// c10::OutOfMemoryError is thrown by the CUDA allocator; the CPU allocator throws a plain
// c10::Error that only its text tells apart.
bool IsOutOfMemory(const std::exception& error, std::string_view text) {
  return dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
         text.find("out of memory") != std::string_view::npos ||
         text.find("can't allocate memory") != std::string_view::npos;
}

}  // namespace

absl::Status TorchFailure(std::string_view what_doing, const std::exception& error) {
  std::string_view text = error.what();
  const bool out_of_memory = IsOutOfMemory(error, text);
  text = text.substr(0, text.find('\n'));
  if (text.size() > 300) text = text.substr(0, 300);
  const std::string where = "while " + std::string(what_doing) + ": ";
  if (out_of_memory) {
    return Error(absl::StatusCode::kResourceExhausted, "OUT_OF_MEMORY",
                 where + "not enough memory; use smaller batches or a device with more");
  }
  return Error(absl::StatusCode::kInternal, "TORCH_ERROR", where + std::string(text));
}

}  // namespace lethe
