// From sequences to likelihoods: the only place that knows the shift by one and the mask.
//
//   LETHE_ASSIGN_OR_RETURN(std::vector<LossBatch> batches, MakeBatches(model, sequences));
//   const int64_t labelled = LabelledTokens(batches);
//   for (const LossBatch& batch : batches) {   // accumulates the gradient of one token mean
//     TokenLosses losses = ComputeTokenLosses(model, batch);
//     (losses.nll.sum() / labelled).backward();
//   }
//
// Labelled   are the tokens t >= max(1, prompt_tokens) of a sequence, or those of them that lie in
//            a sensitive span. Token t is predicted from position t-1. Pads and prompts never reach
//            the output layer.
// Memory     the logits of at most `logit_bytes` stand at a time; those of a whole batch never do.
//            What the backward pass needs of them, probabilities, is kept where it takes at most
//            `kept_bytes`; else the backward pass computes it again.
// Precision  logits, softmax and losses are fp32 of fp32 weights, also where the decoder computes
//            in bf16: a bf16 logit of 16 is off by up to 0.03. Slopes are the decoder's type.
// Padding    sequences are sorted by length and cut into micro-batches of at most `max_tokens`,
//            pads included.
// Shapes     work that a device repeats (captured_step.h) is repeated for shapes that it has met
//            before: `in_buckets` rounds rows, tokens and labelled tokens up to one of eight sizes a
//            power of two. What is added counts for nothing.
// Ranks      where several processes train together, MakeBatches gives this one's share, and the
//            normaliser is LabelledTokens of all sequences; ScoreSequences shares the work and
//            gives every rank all scores.
// Threads    const model: any.
// Errors     MakeBatches and ScoreSequences: INVALID_ARGUMENT/SEQUENCE_TOO_SHORT (under two
//            tokens), SEQUENCE_TOO_LONG, TOKEN_OUT_OF_RANGE, NOTHING_LABELLED;
//            RESOURCE_EXHAUSTED/OUT_OF_MEMORY. ComputeTokenLosses throws LibTorch's exceptions: end
//            at CatchTorch.
#ifndef LETHE_ENGINE_LOSS_SEQUENCE_LOSS_H_
#define LETHE_ENGINE_LOSS_SEQUENCE_LOSS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/model/language_model.h"
#include "engine/ranks.h"
#include "text/sequence.h"

namespace lethe {

inline constexpr int64_t kMicroBatchTokens = 4096;

enum class Labels {
  kAnswer,     // every token after the prompt (all tokens but the first, where there is no prompt)
  kSensitive,  // those that lie in a sensitive span; a sequence without spans counts as kAnswer
};

struct BatchOptions {
  Labels labels = Labels::kAnswer;
  // of a micro-batch, pads included; one longer sequence is a micro-batch of its own
  int64_t max_tokens = kMicroBatchTokens;
  Ranks* ranks = nullptr;   // who shares the sequences; null: nobody
  bool in_buckets = false;  // Shapes, above
  bool on_host = false;     // the tensors stay in the host's memory, whatever the model's device
};

// Sequences of about the same length, on the model's device. B rows, T the longest; N labelled
// tokens in all, row by row. In buckets B, T and N are rounded up: rows of pads stand behind the
// sequences, and labels that do not count behind the others.
struct LossBatch {
  at::Tensor ids;  // (B,T) int64, padded on the right with 0
  // (N) int64: b*T + t - 1, the row of the hidden states that predicts labelled token t of row b
  at::Tensor positions;
  at::Tensor targets;             // (N) int64: the labelled tokens
  at::Tensor lengths;             // (B) fp32: labelled tokens of each row; 1 for a row of pads
  at::Tensor counted;             // (N) fp32: 1, and 0 for what was added; undefined: all count
  std::vector<size_t> sequences;  // of each sequence: the caller's index
  std::vector<int64_t> labelled;  // of each sequence: labelled tokens

  // What the losses are computed of, in a fixed order; and the same batch of others of those shapes.
  std::vector<at::Tensor> Tensors() const;
  LossBatch With(std::span<const at::Tensor> tensors) const;
};

// The least of eight sizes a power of two that is not below `size`: 200 -> 208, 13 -> 13.
int64_t Bucket(int64_t size);

// Every sequence is in one batch, of one rank. The order depends on the lengths only.
absl::StatusOr<std::vector<LossBatch>> MakeBatches(const LanguageModel& model,
                                                   std::span<const Sequence> sequences,
                                                   const BatchOptions& options = {});
int64_t LabelledTokens(std::span<const LossBatch> batches);
// Of all sequences, those of other ranks too.
int64_t LabelledTokens(std::span<const Sequence> sequences, Labels labels = Labels::kAnswer);

struct LossOptions {
  int64_t logit_bytes = int64_t{24} << 20;
  int64_t kept_bytes = int64_t{384} << 20;
  bool find_close = false;  // fill TokenLosses::close
};

struct TokenLosses {
  at::Tensor nll;  // (N) fp32, nats, carries grad; 0 where nothing counts
  // (N) int64: the model's first choice, the lowest id of equals. MA counts choice == targets.
  at::Tensor choice;
  // (N) bool: the choice is one that fp32 cannot make (first_choice.h). Undefined where it was not
  // asked for.
  at::Tensor close;
};
TokenLosses ComputeTokenLosses(const LanguageModel& model, const LossBatch& batch,
                               const LossOptions& options = {});

// Sums over each row's labelled tokens: values (N) -> (B) fp32; carries grad.
at::Tensor SumByRow(const LossBatch& batch, const at::Tensor& values);
// Means over each row's labelled tokens: values (N) -> (B) fp32; carries grad.
at::Tensor MeanByRow(const LossBatch& batch, const at::Tensor& values);

// Output layer and cross-entropy in one, in chunks of rows: hidden (N,D), weight (V,D), targets (N)
// -> losses (N). `rounded`, where the decoder has it, is what the products of the backward pass
// take instead of the weight.
TokenLosses OutputLoss(const at::Tensor& hidden, const at::Tensor& weight,
                       const at::Tensor& targets, const LossOptions& options = {},
                       const at::Tensor& rounded = {});

// The same of what a model of any kind has read, hidden (N,W), by its logits: whole rows of them
// stand until the backward pass. A single decoder's is OutputLoss.
TokenLosses LossesOfLogits(const LanguageModel& model, const at::Tensor& hidden,
                           const at::Tensor& targets, const LossOptions& options = {});

// Teacher-forced scores of one sequence, without gradients or tensors: what attacks and metrics
// read.
struct SequenceScore {
  std::vector<float> nll;       // of each labelled token in order, nats
  std::vector<int32_t> choice;  // the model's first choice for each, ties as in first_choice.h
  int64_t hits = 0;             // how often that is the labelled token
  int64_t ties = 0;             // choices that fp32 could not make
  double total_nll = 0;         // summed in double
  double MeanNll() const { return total_nll / static_cast<double>(nll.size()); }
  // MA
  double HitRate() const { return static_cast<double>(hits) / static_cast<double>(nll.size()); }
};
// What goes with scoring. A batch may be seen again in halves, where memory did not suffice.
struct ScoreHooks {
  // Reads ids (B,T) -> (B*T,D); null: the model's Hidden.
  std::function<at::Tensor(const at::Tensor& ids)> read = nullptr;
  // What else is to be read off a batch that has its scores; hidden (N,D): of its labelled tokens.
  std::function<void(const LossBatch& batch, const at::Tensor& hidden,
                     std::span<const SequenceScore> scores)>
      also = nullptr;
};
// In the order of `sequences`.
absl::StatusOr<std::vector<SequenceScore>> ScoreSequences(const LanguageModel& model,
                                                          std::span<const Sequence> sequences,
                                                          const BatchOptions& options = {},
                                                          const ScoreHooks& hooks = {});

}  // namespace lethe

#endif  // LETHE_ENGINE_LOSS_SEQUENCE_LOSS_H_
