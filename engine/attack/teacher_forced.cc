#include "engine/attack/teacher_forced.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/log_softmax.h>

#include <algorithm>
#include <cmath>

#include "engine/attack/sampled_extraction.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

constexpr int64_t kLogitBytes = int64_t{24} << 20;

// Appends values (n), from `begin`, to the lists of a batch's sequences.
void Append(const at::Tensor& values, std::vector<float>& out) {
  const at::Tensor cpu = values.to(at::kCPU, at::kFloat).contiguous();
  const float* first = cpu.const_data_ptr<float>();
  out.insert(out.end(), first, first + cpu.numel());
}

// values (N) of a batch, row by row -> one list a sequence.
template <typename Place>
void Share(const LossBatch& batch, const std::vector<float>& values, Place place) {
  auto next = values.begin();
  for (size_t b = 0; b < batch.sequences.size(); ++b) {
    place(batch.sequences[b]).assign(next, next + batch.labelled[b]);
    next += batch.labelled[b];
  }
}

}  // namespace

absl::Status TeacherForced::RunStatistics() {
  at::NoGradGuard no_grad;
  std::vector<SamplingScheme> missing;
  for (const SamplingScheme& scheme : schemes_) {
    if (log_q_.count(scheme) == 0) missing.push_back(scheme);
  }
  for (const SamplingScheme& scheme : missing) log_q_[scheme].resize(sequences_.size());
  LETHE_ASSIGN_OR_RETURN(const std::vector<LossBatch> batches, MakeBatches(model_, sequences_));
  for (const LossBatch& batch : batches) {
    const at::Tensor hidden = model_.Hidden(batch.ids).index_select(0, batch.positions);  // (N,E)
    const int64_t rows = hidden.size(0);
    const int64_t chunk = std::max<int64_t>(1, kLogitBytes / (4 * model_.config().vocab_size));
    std::vector<float> mean, deviation;
    std::vector<std::vector<float>> log_q(missing.size());
    for (int64_t begin = 0; begin < rows; begin += chunk) {
      const int64_t count = std::min(chunk, rows - begin);
      const at::Tensor logits = model_.Logits(hidden.narrow(0, begin, count)).to(at::kFloat);
      const at::Tensor log_p = at::log_softmax(logits, 1);  // (n,V)
      const at::Tensor p = log_p.exp();
      const at::Tensor mu = (p * log_p).sum(1);  // (n)
      Append(mu, mean);
      Append((p * (log_p - mu.unsqueeze(1)).square()).sum(1).clamp_min(1e-6).sqrt(), deviation);
      for (size_t i = 0; i < missing.size(); ++i) {
        const at::Tensor targets = batch.targets.narrow(0, begin, count);
        Append(lethe::SchemeLogProbs(logits, targets, missing[i].temperature, missing[i].top_k,
                                     missing[i].top_p),
               log_q[i]);
      }
    }
    Share(batch, mean, [&](size_t s) -> std::vector<float>& { return (*tokens_)[s].mean; });
    Share(batch, deviation,
          [&](size_t s) -> std::vector<float>& { return (*tokens_)[s].deviation; });
    for (size_t i = 0; i < missing.size(); ++i) {
      Share(batch, log_q[i],
            [&](size_t s) -> std::vector<float>& { return log_q_[missing[i]][s]; });
    }
  }
  for (const Sequence& s : sequences_) forward_tokens_ += static_cast<int64_t>(s.ids.size());
  return absl::OkStatus();
}

absl::StatusOr<std::span<const TokenStatistics>> TeacherForced::Tokens() {
  if (!tokens_.has_value()) {
    LETHE_ASSIGN_OR_RETURN(std::vector<SequenceScore> scores, ScoreSequences(model_, sequences_));
    std::vector<TokenStatistics> tokens(scores.size());
    for (size_t i = 0; i < scores.size(); ++i) tokens[i].score = std::move(scores[i]);
    tokens_ = std::move(tokens);
    for (const Sequence& s : sequences_) forward_tokens_ += static_cast<int64_t>(s.ids.size());
    LETHE_RETURN_IF_ERROR(
        CatchTorch("reading what attacks share", [&] { return RunStatistics(); }));
  }
  return std::span<const TokenStatistics>(*tokens_);
}

absl::StatusOr<std::span<const std::vector<float>>> TeacherForced::SchemeLogProbs(
    const SamplingScheme& scheme) {
  LETHE_RETURN_IF_ERROR(Tokens().status());
  if (log_q_.count(scheme) == 0) {
    schemes_.push_back(scheme);
    LETHE_RETURN_IF_ERROR(
        CatchTorch("reading what attacks share", [&] { return RunStatistics(); }));
  }
  return std::span<const std::vector<float>>(log_q_.at(scheme));
}

}  // namespace lethe
