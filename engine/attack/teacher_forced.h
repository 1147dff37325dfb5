// One teacher-forced pass over sequences and what attacks read off it: it is made once, when the
// first of them asks.
//
//   TeacherForced forced(model, sequences);
//   LETHE_ASSIGN_OR_RETURN(std::span<const TokenStatistics> tokens, forced.Tokens());
//   tokens[0].score.nll[3];
//   LETHE_ASSIGN_OR_RETURN(auto log_q, forced.SchemeLogProbs({.temperature = 1, .top_k = 40}));
//   const PrefixPlace places[] = {{.sequence = 0, .after = 5, .end = 20}};
//   LETHE_ASSIGN_OR_RETURN(Continuations said, forced.Continue(places));
//   said.texts[0];   // 15 tokens: what the model says by itself after the first five
//
// Entry i of each list is labelled token FirstScored(sequence) + i, as in ScoreSequences.
// Continue   greedily. As far as the first choices are the text itself nothing need be said: only
//            what follows the first mistake is rolled out, once for all prefixes that share it.
// Cost       the sequences' tokens, once. The hidden states are kept, so that a scheme that is
//            asked for later costs the output layer alone; where they would take more than
//            kKeptBytes, it costs another pass. Roll-outs cost a token a step beside it; those of
//            the first to read go on from the pass itself, later ones read their prefixes again.
//            On the CPU both readings give the same bits; on a GPU their kernels may differ.
// Threads    one at a time.
// Errors     as ScoreSequences.
#ifndef LETHE_ENGINE_ATTACK_TEACHER_FORCED_H_
#define LETHE_ENGINE_ATTACK_TEACHER_FORCED_H_

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/status.h"
#include "engine/attack/prefix_rollouts.h"
#include "engine/attack/sampling_scheme.h"
#include "engine/loss/sequence_loss.h"
#include "engine/model/language_model.h"
#include "text/sequence.h"

namespace lethe {

struct TokenStatistics {
  SequenceScore score;           // NLL and first choice of each labelled token
  std::vector<float> mean;       // E_v[log p_v] under the model's own p
  std::vector<float> deviation;  // of log p_v under p: sqrt(max(var, 1e-6))
};

class TeacherForced {
 public:
  static constexpr int64_t kKeptBytes = int64_t{512} << 20;

  // Both must outlive it. `schemes`: some that will be asked for, read with the first pass.
  TeacherForced(const LanguageModel& model, std::span<const Sequence> sequences,
                std::vector<SamplingScheme> schemes = {}, int64_t kept_bytes = kKeptBytes)
      : model_(model),
        sequences_(sequences),
        schemes_(std::move(schemes)),
        kept_bytes_(kept_bytes) {}

  absl::StatusOr<std::span<const TokenStatistics>> Tokens();
  // log q of each labelled token under a scheme; -inf where the scheme never draws it.
  absl::StatusOr<std::span<const std::vector<float>>> SchemeLogProbs(const SamplingScheme& scheme);

  absl::StatusOr<Continuations> Continue(std::span<const PrefixPlace> places);

  // The pass was charged for before, in a run that was stopped: roll-outs cost what they would have
  // cost in that run.
  void TakeAsRead() { taken_as_read_ = true; }
  int64_t forward_tokens() const { return forward_tokens_; }  // of passes

 private:
  struct Kept {
    LossBatch batch;
    at::Tensor hidden;  // (N,E) of its labelled tokens
  };

  // With roll-outs that go on from it; null: none.
  absl::Status Read(PrefixRollouts* rolled = nullptr);
  absl::Status ReadAgain(std::span<const SequenceScore> scores, PrefixRollouts& rolled,
                         int64_t* tokens);
  void ReadBatch(const LossBatch& batch, const at::Tensor& hidden,
                 std::vector<TokenStatistics>& tokens);
  void ReadSchemes(const LossBatch& batch, const at::Tensor& hidden,
                   std::span<const SamplingScheme> schemes);
  void CountPass();

  const LanguageModel& model_;
  const std::span<const Sequence> sequences_;
  const std::vector<SamplingScheme> schemes_;
  const int64_t kept_bytes_;
  std::optional<std::vector<TokenStatistics>> tokens_;
  std::map<SamplingScheme, std::vector<std::vector<float>>> log_q_;
  std::vector<Kept> kept_;  // all batches, or none
  int64_t forward_tokens_ = 0;
  bool taken_as_read_ = false;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_TEACHER_FORCED_H_
