// The model's first choice after each of some texts: the largest logit, decided in float64 where
// fp32 cannot tell, and of equals the lowest id.
//
//   const FirstChoices made = ChooseFirst(model, hidden, [&](int64_t row) { return texts[row]; });
//   made.tokens[row];   made.ties;   // how many rows fp32 could not tell
//
// Tie        the two best logits are closer than TieBound. fp32 rounds differently with the shape of
//            a batch, with and without a cache and on another machine, so such a row would fall
//            either way. Its text is read again in float64, alone, and the tokens that are equal
//            there (closer than float64's own TieBound) go to the lowest id. Hence a choice depends
//            on the weights and the text alone.
// Equal rows of the output weight have equal logits whatever was read: where only such tokens are
//            close, the lowest id wins without a float64 pass. After unlearning, many tokens that
//            the model never said may be equal.
// Cost       none where nothing is close: the second best falls out of the pass that finds the
//            best. A tie costs one float64 pass over its text, one weight at a time in memory.
// Threads    const model: any.
// Errors     LibTorch's exceptions and std::bad_alloc: end at CatchTorch.
#ifndef LETHE_ENGINE_MODEL_FIRST_CHOICE_H_
#define LETHE_ENGINE_MODEL_FIRST_CHOICE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/model/cpu_kernels.h"
#include "engine/model/language_model.h"

namespace lethe {

// How close two logits may be that fp32 cannot tell apart, where the best is `largest`: 64 steps of
// fp32 at that size (8e-6 up to 1, 1.5e-4 at 20). docs/engine.md, "Ties", has what it rests on.
double TieBound(double largest);

// logits (n,V), of any type and on any device -> the two best of each row. Of equals, which comes
// first is certain only where our own loops run.
std::vector<cpu::TopTwo> BestTwo(const at::Tensor& logits);

struct FirstChoices {
  std::vector<int32_t> tokens;  // (N)
  int64_t ties = 0;
};

// What the model has read before row n of hidden, that row's token included; empty: nobody asks.
using TextBefore = std::function<std::vector<int32_t>(int64_t row)>;

// hidden (N,E). In chunks of logits.
FirstChoices ChooseFirst(const LanguageModel& model, const at::Tensor& hidden,
                         const TextBefore& text);

// The choice after a text in float64, and how far the next one is behind it that is not equal.
struct PreciseChoice {
  int32_t token;
  double margin;
};
PreciseChoice ChooseInDouble(const LanguageModel& model, std::span<const int32_t> text);

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_FIRST_CHOICE_H_
