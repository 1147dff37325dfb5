// The output layer in chunks of rows: what the losses over a vocabulary share. Not for others.
//
//   const OutputPlan plan(weight, hidden.size(0), slopes, options);
//   const at::Tensor multiplied = LogitWeight(weight, rounded);
//   for (int64_t row = 0; row < rows; row += plan.chunk) ... LogitsOf(some(hidden), multiplied) ...
//
// Threads    any. Errors: LibTorch's exceptions.
#ifndef LETHE_ENGINE_LOSS_OUTPUT_LAYER_H_
#define LETHE_ENGINE_LOSS_OUTPUT_LAYER_H_

#include <ATen/core/grad_mode.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <optional>

#include "engine/loss/sequence_loss.h"
#include "engine/model/linear.h"

namespace lethe {

// A GPU wants work by the hundred rows, and memory is less dear there than another launch.
inline constexpr int64_t kDeviceLogitBytes = int64_t{512} << 20;

// Rows of the logits that are computed at a time, and what is to be kept of them.
struct OutputPlan {
  int64_t chunk = 1;
  bool keep = false;
  bool find_close = false;
  at::ScalarType type = at::kFloat;  // of slopes and kept probabilities

  OutputPlan(const at::Tensor& weight, int64_t rows, at::ScalarType slopes,
             const LossOptions& options)
      : find_close(options.find_close), type(slopes) {
    const int64_t vocabulary = weight.size(0);
    const auto row_bytes = vocabulary * static_cast<int64_t>(sizeof(float));
    const auto kept_bytes = vocabulary * static_cast<int64_t>(c10::elementSize(slopes));
    const int64_t bytes =
        weight.is_cpu() ? options.logit_bytes : std::max(options.logit_bytes, kDeviceLogitBytes);
    chunk = std::max<int64_t>(1, std::min(rows, bytes / row_bytes));
    keep = at::GradMode::is_enabled() && rows * kept_bytes <= options.kept_bytes;
  }
};

// The weight (V,D) that logits are made of. Where the decoder has rounded copies, a GPU multiplies
// those and sums in fp32: its products in fp32 are some ten times as slow.
inline at::Tensor LogitWeight(const at::Tensor& weight, const std::optional<at::Tensor>& rounded) {
  return weight.is_cuda() && rounded.has_value() ? *rounded : weight.to(at::kFloat);
}

// hidden (n,D) -> (n,V) fp32
inline at::Tensor LogitsOf(const at::Tensor& hidden, const at::Tensor& weight) {
  if (weight.scalar_type() != at::kBFloat16) {
    return ProductWithTransposed(hidden.to(weight.scalar_type()), weight);
  }
  return at::mm(hidden, weight.t(), at::kFloat);
}

}  // namespace lethe

#endif  // LETHE_ENGINE_LOSS_OUTPUT_LAYER_H_
