// One teacher-forced pass over sequences and what attacks read off it: it is made once, when the
// first of them asks.
//
//   TeacherForced forced(model, sequences);
//   LETHE_ASSIGN_OR_RETURN(std::span<const TokenStatistics> tokens, forced.Tokens());
//   tokens[0].score.nll[3];
//   LETHE_ASSIGN_OR_RETURN(auto log_q, forced.SchemeLogProbs({.temperature = 1, .top_k = 40}));
//
// Entry i of each list is labelled token FirstScored(sequence) + i, as in ScoreSequences.
// Cost       the sequences' tokens, once; a scheme that was not asked for in time another pass.
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
#include "engine/loss/sequence_loss.h"
#include "engine/model/decoder.h"
#include "text/sequence.h"

namespace lethe {

// How a continuation is drawn: softmax of logits / temperature, cut to the k likeliest, then to the
// fewest whose probabilities reach p, renormalised.
struct SamplingScheme {
  double temperature = 1;
  int64_t top_k = 0;  // 0: all
  double top_p = 1;
  auto operator<=>(const SamplingScheme&) const = default;
};

struct TokenStatistics {
  SequenceScore score;           // NLL and first choice of each labelled token
  std::vector<float> mean;       // E_v[log p_v] under the model's own p
  std::vector<float> deviation;  // of log p_v under p: sqrt(max(var, 1e-6))
};

class TeacherForced {
 public:
  // Both must outlive it. `schemes` are those that will be asked for.
  TeacherForced(const Decoder& model, std::span<const Sequence> sequences,
                std::vector<SamplingScheme> schemes = {})
      : model_(model), sequences_(sequences), schemes_(std::move(schemes)) {}

  absl::StatusOr<std::span<const TokenStatistics>> Tokens();
  // log q of each labelled token under a scheme; -inf where the scheme never draws it.
  absl::StatusOr<std::span<const std::vector<float>>> SchemeLogProbs(const SamplingScheme& scheme);

  int64_t forward_tokens() const { return forward_tokens_; }

 private:
  absl::Status RunStatistics();

  const Decoder& model_;
  const std::span<const Sequence> sequences_;
  std::vector<SamplingScheme> schemes_;
  std::optional<std::vector<TokenStatistics>> tokens_;
  std::map<SamplingScheme, std::vector<std::vector<float>>> log_q_;
  int64_t forward_tokens_ = 0;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_TEACHER_FORCED_H_
