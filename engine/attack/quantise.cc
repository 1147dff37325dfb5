#include "engine/attack/quantise.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "engine/checkpoint/decoder_tensors.h"
#include "engine/model/decoder_io.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

bool IsRounded(Slot slot) {
  switch (slot) {
    case Slot::kTokens:
    case Slot::kProjectIn:
    case Slot::kQkv:
    case Slot::kAttnOut:
    case Slot::kUp:
    case Slot::kDown:
    case Slot::kProjectOut:
    case Slot::kOutput:
      return true;
    default:
      return false;
  }
}

// What each leaf is, in the order of Decoder::Leaves(): one a layer and slot, as they are first
// named.
std::vector<Slot> SlotsOfLeaves(const DecoderConfig& config) {
  std::set<std::pair<int64_t, Slot>> seen;
  std::vector<Slot> slots;
  for (const TensorRule& rule : DecoderTensors(config)) {
    if (seen.insert({rule.layer, rule.slot}).second) slots.push_back(rule.slot);
  }
  return slots;
}

double LargestCode(const Grid& grid) { return grid.bits == 8 ? 127 : 7; }

// weight (O,I) -> (O,I): the largest |w| of the group that each weight is in.
at::Tensor LargestOfGroup(const at::Tensor& weight, const Grid& grid) {
  const int64_t inputs = weight.size(1);
  const int64_t group = grid.group > 0 ? grid.group : inputs;
  std::vector<at::Tensor> parts;
  for (int64_t begin = 0; begin < inputs; begin += group) {
    const int64_t count = std::min(group, inputs - begin);
    const at::Tensor largest = weight.narrow(1, begin, count).abs().amax({1}, /*keepdim=*/true);
    parts.push_back(largest.expand({-1, count}));
  }
  return at::cat(parts, 1);
}

// weight (O,I), each inside of the step of `base`'s grid where the base's lies.
at::Tensor WithinSteps(const at::Tensor& base, const at::Tensor& weight, const Grid& grid) {
  constexpr double kInside = 0.49;  // of a step; at .5 rounding of fp32 could decide
  const at::Tensor largest = LargestOfGroup(base, grid);  // (O,I)
  const at::Tensor reach = largest / LargestCode(grid) * kInside;
  const at::Tensor values = RoundToGrid(base, grid).values;
  const at::Tensor low = at::maximum(values - reach, -largest);
  const at::Tensor high = at::minimum(values + reach, largest);
  // What gives the scale stays, and what the base itself has nearer to a border than that.
  const at::Tensor stays =
      base.abs().eq(largest).logical_or(base.lt(low)).logical_or(base.gt(high));
  return at::where(stays, base, at::minimum(at::maximum(weight, low), high));
}

// A matrix of a checkpoint as (outputs, inputs).
absl::StatusOr<at::Tensor> ReadMatrix(const CheckpointFolder& folder, const TensorRule& rule) {
  LETHE_ASSIGN_OR_RETURN(const at::Tensor stored, ReadTensor(folder, rule.name));
  const at::Tensor weight = stored.to(at::kFloat);
  return rule.stored == Stored::kTransposed ? weight.t().contiguous() : weight;
}

struct CodeCount {
  int64_t changed = 0, weights = 0;
};

absl::Status CountCodes(const CheckpointFolder& base, const CheckpointFolder& candidate,
                        const Grid& grid, CodeCount& count) {
  at::NoGradGuard no_grad;
  LETHE_ASSIGN_OR_RETURN(const DecoderConfig config, ReadDecoderConfig(base));
  for (const TensorRule& rule : DecoderTensors(config)) {
    if (!IsRounded(rule.slot)) continue;
    LETHE_ASSIGN_OR_RETURN(const at::Tensor before, ReadMatrix(base, rule));
    LETHE_ASSIGN_OR_RETURN(const at::Tensor after, ReadMatrix(candidate, rule));
    if (before.sizes() != after.sizes()) {
      return Error(absl::StatusCode::kInvalidArgument, "BAD_CHECKPOINT",
                   "a tensor has not the same shape in both models", {{"tensor", rule.name}});
    }
    const at::Tensor differ = RoundToGrid(before, grid).codes.ne(RoundToGrid(after, grid).codes);
    count.changed += differ.sum().item<int64_t>();
    count.weights += before.numel();
  }
  return absl::OkStatus();
}

}  // namespace

Quantised RoundToGrid(const at::Tensor& weight, const Grid& grid) {
  const double most = LargestCode(grid);
  const at::Tensor scale = LargestOfGroup(weight, grid) / most;  // (O,I)
  // Where a group is all zeros any scale will do.
  const at::Tensor codes =
      (weight / scale.masked_fill(scale.eq(0), 1)).round().clamp(-most, most);  // (O,I)
  return {codes.to(at::kChar), codes * scale};
}

void Quantise(const Decoder& model, const Grid& grid) {
  at::NoGradGuard no_grad;
  const std::vector<Slot> slots = SlotsOfLeaves(model.config());
  const std::vector<at::Tensor>& leaves = model.Leaves();
  for (size_t i = 0; i < leaves.size(); ++i) {
    if (IsRounded(slots[i])) leaves[i].copy_(RoundToGrid(leaves[i].detach(), grid).values);
  }
}

absl::Status KeepCodes(const Decoder& base, const Decoder& model, const Grid& grid) {
  at::NoGradGuard no_grad;
  const std::vector<Slot> slots = SlotsOfLeaves(model.config());
  const std::vector<at::Tensor>&before = base.Leaves(), &leaves = model.Leaves();
  if (before.size() != leaves.size()) {
    return Error(absl::StatusCode::kInvalidArgument, "BAD_CHECKPOINT",
                 "the two folders hold different models");
  }
  for (size_t i = 0; i < leaves.size(); ++i) {
    if (!IsRounded(slots[i])) continue;
    if (before[i].sizes() != leaves[i].sizes()) {
      return Error(absl::StatusCode::kInvalidArgument, "BAD_CHECKPOINT",
                   "a tensor has not the same shape in both models");
    }
    leaves[i].copy_(WithinSteps(before[i].detach(), leaves[i].detach(), grid));
  }
  return absl::OkStatus();
}

absl::StatusOr<double> ShareOfChangedCodes(std::span<const CheckpointFolder> base,
                                           std::span<const CheckpointFolder> candidate,
                                           const Grid& grid) {
  return CatchTorch("comparing codes", [&]() -> absl::StatusOr<double> {
    if (base.size() != candidate.size()) {
      return Error(absl::StatusCode::kInvalidArgument, "BAD_CHECKPOINT",
                   "the two folders hold different models");
    }
    CodeCount count;
    for (size_t i = 0; i < base.size(); ++i) {
      LETHE_RETURN_IF_ERROR(CountCodes(base[i], candidate[i], grid, count));
    }
    return count.weights == 0
               ? 0
               : static_cast<double>(count.changed) / static_cast<double>(count.weights);
  });
}

}  // namespace lethe
