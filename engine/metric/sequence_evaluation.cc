#include "engine/metric/sequence_evaluation.h"

#include <algorithm>

#include "engine/loss/sequence_loss.h"
#include "engine/metric/memorisation.h"
#include "engine/metric/span_score.h"

namespace lethe {
namespace {

constexpr size_t kPart = 64;  // sequences between two reports of progress

// Fills in what a teacher-forced pass gives.
absl::Status Score(const LanguageModel& model, std::span<const Sequence> sequences,
                   std::span<SequenceEvaluation> out) {
  LETHE_ASSIGN_OR_RETURN(const auto scores, ScoreSequences(model, sequences));
  for (size_t i = 0; i < scores.size(); ++i) {
    out[i].tokens = static_cast<int64_t>(scores[i].nll.size());
    out[i].nll_per_token = scores[i].MeanNll();
    out[i].ma = scores[i].HitRate();
    out[i].ties = scores[i].ties;
    out[i].span_tokens = static_cast<int64_t>(SpanEntries(sequences[i]).size());
    out[i].span_nll_per_token = SpanNll(sequences[i], scores[i]);
    out[i].span_ma = SpanHitRate(sequences[i], scores[i]);
  }
  return absl::OkStatus();
}

// Log-probabilities of tokens 2..T and the model's choices there, prompts included.
absl::Status FillLogProbs(const LanguageModel& model, std::span<const Sequence> sequences,
                          std::span<SequenceEvaluation> out) {
  std::vector<Sequence> bare;
  for (const Sequence& sequence : sequences) bare.push_back({.ids = sequence.ids});
  LETHE_ASSIGN_OR_RETURN(const auto scores, ScoreSequences(model, bare));
  for (size_t i = 0; i < scores.size(); ++i) {
    for (const float nll : scores[i].nll) out[i].log_probs.push_back(-nll);
    out[i].argmax = scores[i].choice;
  }
  return absl::OkStatus();
}

absl::Status MeasureEl(const LanguageModel& model, std::span<const Sequence> sequences,
                       const std::vector<int>& el_n, std::span<SequenceEvaluation> out) {
  LETHE_ASSIGN_OR_RETURN(
      const auto measured,
      MeasureMemorisation(model, sequences, {.el_n = {el_n.begin(), el_n.end()}}));
  for (size_t i = 0; i < measured.size(); ++i) {
    for (const auto& [n, el] : measured[i].el) out[i].el[static_cast<int>(n)] = el;
    out[i].rollouts = measured[i].rollouts;
    out[i].el_forward_tokens = measured[i].forward_tokens;
    out[i].ties = measured[i].ties;  // those of the likelihood's pass are among them
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<EvaluateResult> EvaluateSequences(const LanguageModel& model,
                                                 std::span<const Sequence> sequences,
                                                 const std::vector<int>& el_n, bool token_log_probs,
                                                 const ProgressCallback& progress) {
  EvaluateResult result;
  result.sequences.resize(sequences.size());
  for (size_t begin = 0; begin < sequences.size(); begin += kPart) {
    LETHE_RETURN_IF_ERROR(Report(
        progress,
        {"measuring", static_cast<int64_t>(begin), static_cast<int64_t>(sequences.size()), {}}));
    const auto part = sequences.subspan(begin, std::min(kPart, sequences.size() - begin));
    const auto out = std::span(result.sequences).subspan(begin, part.size());
    LETHE_RETURN_IF_ERROR(Score(model, part, out));
    if (token_log_probs) LETHE_RETURN_IF_ERROR(FillLogProbs(model, part, out));
    for (const Sequence& sequence : part) {
      result.forward_tokens += static_cast<int64_t>(sequence.ids.size());
    }
    if (!el_n.empty()) LETHE_RETURN_IF_ERROR(MeasureEl(model, part, el_n, out));
    for (const SequenceEvaluation& s : out) {
      result.rollouts += s.rollouts;
      result.forward_tokens += s.el_forward_tokens;
      result.ties += s.ties;
    }
  }
  return result;
}

double SetNll(const std::vector<SequenceEvaluation>& sequences) {
  double nats = 0, tokens = 0;
  for (const SequenceEvaluation& s : sequences) {
    nats += s.nll_per_token * static_cast<double>(s.tokens);
    tokens += static_cast<double>(s.tokens);
  }
  return tokens > 0 ? nats / tokens : 0;
}

}  // namespace lethe
