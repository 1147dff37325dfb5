// What a model makes of sequences: likelihood, MA and EL_n, one record a sequence.
//
//   EvaluateRequest request{.model_folder = folder, .sequences = sequences, .el_n = {10}};
//   LETHE_ASSIGN_OR_RETURN(EvaluateResult result, Evaluate(request, progress));
//   result.sequences[0].nll_per_token;
//
// What counts  tokens after `prompt_tokens` and never the first token (nothing predicts it): a
//              sequence must have one such token. MA and EL_n are over the whole sequence when
//              prompt_tokens is 0; with a prompt they begin behind it.
// Threads      any thread; two calls at once share the CPU threads of OpenDevice.
// Errors       INVALID_ARGUMENT: CheckSequence's reasons (metadata "set", "index"), BAD_CHECKPOINT
//              and the like from the folder, NOTHING_TO_EVALUATE;
//              FAILED_PRECONDITION/MODEL_NOT_FINITE, a weight is NaN or infinite (metadata
//              "tensor"); CANCELLED/STOPPED; RESOURCE_EXHAUSTED/OUT_OF_MEMORY.
#ifndef LETHE_ENGINE_EVALUATE_H_
#define LETHE_ENGINE_EVALUATE_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <vector>

#include "base/status.h"
#include "engine/device.h"
#include "engine/progress.h"
#include "text/sequence.h"

namespace lethe {

struct EvaluateRequest {
  std::filesystem::path model_folder;
  std::filesystem::path adapter_folder;  // a LoRA adapter on top (lora.h); empty: none
  std::vector<Sequence> sequences;
  std::vector<int> el_n;         // empty: EL is not measured
  bool token_log_probs = false;  // fill log_probs and argmax
  Device device;
};

struct SequenceEvaluation {
  int64_t tokens = 0;                        // that count
  double nll_per_token = 0;                  // nats, mean over them
  int64_t span_tokens = 0;                   // of these, in sensitive spans
  std::optional<double> span_nll_per_token;  // nats; absent without spans
  double ma = 0;                             // 0 to 1
  std::optional<double> span_ma;             // MA on the spans alone
  std::map<int, double> el;  // by n, 0 to 1; an n for which the sequence is too short is absent
  int64_t rollouts = 0;      // greedy continuations that its EL needed
  int64_t el_forward_tokens = 0;  // fed to the model for its EL; 0 where it was not asked
  int64_t ties = 0;  // choices that fp32 could not make: decided in float64, then for the lowest id
  std::vector<double> log_probs;  // of tokens 2..T, prompt included, nats
  std::vector<int32_t> argmax;    // the model's choice at the same places
};

struct EvaluateResult {
  std::vector<SequenceEvaluation> sequences;  // in the order of the request
  int64_t forward_tokens = 0;
  int64_t rollouts = 0;  // greedy continuations that EL needed
  int64_t ties = 0;      // of the sequences together
  double seconds = 0;
};

absl::StatusOr<EvaluateResult> Evaluate(const EvaluateRequest& request,
                                        const ProgressCallback& progress = nullptr);

}  // namespace lethe

#endif  // LETHE_ENGINE_EVALUATE_H_
