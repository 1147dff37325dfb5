// Weights rounded to nearest on a symmetric grid of 8 or 4 bits, as plain quantisation does it.
// Unlearning that moves weights by less than a step of the grid is undone by it (Zhang et al. 2024,
// arXiv 2410.16454).
//
//   Decoder rounded = model.Clone();
//   Quantise(rounded, {.bits = 4, .group = 128});
//   LETHE_ASSIGN_OR_RETURN(double share, ShareOfChangedCodes(base, candidate, {.bits = 4}));
//
//   scale   max|w| / 127 (8 bits) or max|w| / 7 (4 bits), over an output channel or over 128 inputs
//           of it; the last group has what is left
//   code    w / scale to the nearest integer, halves to the even one; |code| <= 127 or 7
//   w       becomes code * scale; all in fp32. A channel of zeros stays zeros.
//
// Which      projections, embedding and output. Norms, biases and tables of positions stay.
// Channel    a row of the matrix (outputs, inputs). q, k and v (gate and up) are rows of one leaf,
//            so each has scales of its own; a GPT-2 file has its matrices transposed and GPT-NeoX's
//            has rows in another order, which changes no row.
// Memory     ShareOfChangedCodes reads one tensor of each folder at a time.
// Threads    none that writes the model's leaves. Errors: LibTorch's exceptions, callers end at
//            CatchTorch; ShareOfChangedCodes also BAD_CHECKPOINT for a tensor that one folder lacks.
#ifndef LETHE_ENGINE_ATTACK_QUANTISE_H_
#define LETHE_ENGINE_ATTACK_QUANTISE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "base/status.h"
#include "engine/checkpoint/checkpoint_folder.h"
#include "engine/model/decoder.h"

namespace lethe {

struct Grid {
  int bits = 8;
  int64_t group = 0;  // inputs that share a scale; 0: all of a channel
};

struct Quantised {
  at::Tensor codes;   // (O,I) int8
  at::Tensor values;  // (O,I) fp32: codes times their scales
};

// weight (O,I) fp32.
Quantised RoundToGrid(const at::Tensor& weight, const Grid& grid);

// In place, leaf by leaf.
void Quantise(const Decoder& model, const Grid& grid);

// Moves every rounded weight of `model` into the step of `base`'s grid where the base's lies, so that
// both round to the same values. Errors: BAD_CHECKPOINT for models of different shapes.
absl::Status KeepCodes(const Decoder& base, const Decoder& model, const Grid& grid);

// Share of the rounded weights whose code is not the same in both: what of a change a quantised
// model still has. One folder each, or an ensemble's members, each beside the one in its place.
absl::StatusOr<double> ShareOfChangedCodes(std::span<const CheckpointFolder> base,
                                           std::span<const CheckpointFolder> candidate,
                                           const Grid& grid);

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_QUANTISE_H_
