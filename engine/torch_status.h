// Where LibTorch's exceptions end: a call that may throw becomes an absl::Status.
//
//   return CatchTorch("evaluating the model",
//                     [&]() -> absl::StatusOr<double> { return MeanNll(...); });
//
// Errors     RESOURCE_EXHAUSTED/OUT_OF_MEMORY when an allocation failed; INTERNAL/TORCH_ERROR for
//            all else, with the first line of what LibTorch says (shapes and types, never values).
//            A status that `body` returns passes unchanged.
// Memory     what was taken is given back before the status is there: who tries again with less
//            has all of it. CatchTorchInHalves does so for work on a list.
// Threads    any.
#ifndef LETHE_ENGINE_TORCH_STATUS_H_
#define LETHE_ENGINE_TORCH_STATUS_H_

#include <exception>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/status.h"

namespace lethe {

// The status for an exception of LibTorch or the standard library; `what_doing` names the work, as
// in "while ...".
absl::Status TorchFailure(std::string_view what_doing, const std::exception& error);

// Runs `body`, which returns nothing, an absl::Status or an absl::StatusOr.
template <typename Body>
auto CatchTorch(std::string_view what_doing, Body&& body) {
  using Result = std::invoke_result_t<Body>;
  using Returned = std::conditional_t<std::is_void_v<Result>, absl::Status, Result>;
  try {
    if constexpr (std::is_void_v<Result>) {
      body();
      return absl::OkStatus();
    } else {
      return Returned(body());
    }
  } catch (const std::exception& error) {
    return Returned(TorchFailure(what_doing, error));
  }
}

// Whether memory ran out: less at a time may fit.
bool IsOutOfMemory(const absl::Status& status);

// Runs body(items), which returns nothing; where memory runs out, body(first half), then
// body(second half), and so on down to single items. `body` writes a result for each item, and must
// be able to write it again.
template <typename Item, typename Body>
absl::Status CatchTorchInHalves(std::string_view what_doing, std::span<Item> items,
                                const Body& body) {
  absl::Status status = CatchTorch(what_doing, [&] { body(items); });
  if (items.size() < 2 || !IsOutOfMemory(status)) return status;
  const size_t half = items.size() / 2;
  LETHE_RETURN_IF_ERROR(CatchTorchInHalves(what_doing, items.first(half), body));
  return CatchTorchInHalves(what_doing, items.subspan(half), body);
}

}  // namespace lethe

#endif  // LETHE_ENGINE_TORCH_STATUS_H_
