#include "engine/attack/teacher_forced.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/log_softmax.h>

#include <algorithm>
#include <cmath>

#include "engine/model/prompt_groups.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

constexpr int64_t kLogitBytes = int64_t{24} << 20;

// Appends values (n) to a list.
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

// body(logits (n,V) fp32, first row) over all rows of hidden (N,E), a few at a time.
template <typename Body>
void ForLogits(const LanguageModel& model, const at::Tensor& hidden, Body body) {
  const int64_t rows = hidden.size(0);
  const int64_t chunk = std::max<int64_t>(1, kLogitBytes / (4 * model.vocab_size()));
  for (int64_t begin = 0; begin < rows; begin += chunk) {
    const int64_t count = std::min(chunk, rows - begin);
    body(model.Logits(hidden.narrow(0, begin, count)).to(at::kFloat), begin);
  }
}

int64_t HiddenBytes(const LanguageModel& model, std::span<const Sequence> sequences) {
  return LabelledTokens(sequences) * model.HiddenWidth() * 4;
}

}  // namespace

void TeacherForced::CountPass() {
  for (const Sequence& s : sequences_) forward_tokens_ += static_cast<int64_t>(s.ids.size());
}

void TeacherForced::ReadBatch(const LossBatch& batch, const at::Tensor& hidden,
                              std::vector<TokenStatistics>& tokens) {
  std::vector<float> mean, deviation;
  ForLogits(model_, hidden, [&](const at::Tensor& logits, int64_t) {
    const at::Tensor log_p = at::log_softmax(logits, 1);  // (n,V)
    const at::Tensor p = log_p.exp();
    const at::Tensor mu = (p * log_p).sum(1);  // (n)
    Append(mu, mean);
    Append((p * (log_p - mu.unsqueeze(1)).square()).sum(1).clamp_min(1e-6).sqrt(), deviation);
  });
  Share(batch, mean, [&](size_t s) -> std::vector<float>& { return tokens[s].mean; });
  Share(batch, deviation, [&](size_t s) -> std::vector<float>& { return tokens[s].deviation; });
}

void TeacherForced::ReadSchemes(const LossBatch& batch, const at::Tensor& hidden,
                                std::span<const SamplingScheme> schemes) {
  if (schemes.empty()) return;
  std::vector<std::vector<float>> log_q(schemes.size());
  ForLogits(model_, hidden, [&](const at::Tensor& logits, int64_t begin) {
    const at::Tensor targets = batch.targets.narrow(0, begin, logits.size(0));
    for (size_t i = 0; i < schemes.size(); ++i) {
      Append(lethe::SchemeLogProbs(logits, targets, schemes[i]), log_q[i]);
    }
  });
  for (size_t i = 0; i < schemes.size(); ++i) {
    Share(batch, log_q[i], [&](size_t s) -> std::vector<float>& { return log_q_[schemes[i]][s]; });
  }
}

absl::Status TeacherForced::Read(PrefixRollouts* rolled) {
  std::vector<TokenStatistics> tokens(sequences_.size());
  for (const SamplingScheme& scheme : schemes_) log_q_[scheme].resize(sequences_.size());
  const bool keep = HiddenBytes(model_, sequences_) <= kept_bytes_;
  std::unique_ptr<ModelCache> cache;
  at::Tensor all;
  ScoreHooks hooks;
  hooks.also = [&](const LossBatch& batch, const at::Tensor& hidden,
                   std::span<const SequenceScore> scores) {
    ReadBatch(batch, hidden, tokens);
    ReadSchemes(batch, hidden, schemes_);
    if (rolled != nullptr) rolled->Add(*cache, all, batch.ids.size(1), batch.sequences, scores);
    if (keep) kept_.push_back({batch, hidden});
  };
  if (rolled != nullptr) {
    hooks.read = [&](const at::Tensor& ids) {
      // What a batch before it held goes first: it may be the one that memory ran out in.
      all.reset();
      cache.reset();
      cache = model_.NewCache();
      return all = cache->ReadPrefixes(ids);
    };
  }
  LETHE_ASSIGN_OR_RETURN(std::vector<SequenceScore> scores,
                         ScoreSequences(model_, sequences_, {}, hooks));
  for (size_t i = 0; i < scores.size(); ++i) tokens[i].score = std::move(scores[i]);
  tokens_ = std::move(tokens);
  CountPass();
  return absl::OkStatus();
}

absl::StatusOr<std::span<const TokenStatistics>> TeacherForced::Tokens() {
  if (!tokens_.has_value()) LETHE_RETURN_IF_ERROR(Read());
  return std::span<const TokenStatistics>(*tokens_);
}

absl::StatusOr<std::span<const std::vector<float>>> TeacherForced::SchemeLogProbs(
    const SamplingScheme& scheme) {
  LETHE_RETURN_IF_ERROR(Tokens().status());
  if (log_q_.count(scheme) == 0) {
    std::vector<LossBatch> batches;
    if (kept_.empty()) {
      LETHE_ASSIGN_OR_RETURN(batches, MakeBatches(model_, sequences_));
      CountPass();
    }
    const absl::Status read = CatchTorch("reading what attacks share", [&] {
      at::NoGradGuard no_grad;
      log_q_[scheme].resize(sequences_.size());
      const std::span<const SamplingScheme> one(&scheme, 1);
      for (const Kept& kept : kept_) ReadSchemes(kept.batch, kept.hidden, one);
      for (const LossBatch& batch : batches) {
        ReadSchemes(batch, model_.Hidden(batch.ids).index_select(0, batch.positions), one);
      }
    });
    if (!read.ok()) {
      log_q_.erase(scheme);
      return read;
    }
  }
  return std::span<const std::vector<float>>(log_q_.at(scheme));
}

// Only what roll-outs stand on, of the sequences that have any.
absl::Status TeacherForced::ReadAgain(std::span<const SequenceScore> scores, PrefixRollouts& rolled,
                                      int64_t* tokens) {
  std::vector<TokenIds> prefixes;
  std::vector<size_t> whose;
  for (size_t s = 0; s < sequences_.size(); ++s) {
    const int32_t needed = rolled.Needed(s, scores[s]);
    if (needed == 0) continue;
    *tokens += needed;
    const auto begin = sequences_[s].ids.begin();
    prefixes.emplace_back(begin, begin + needed);
    whose.push_back(s);
  }
  return ForPromptGroups("continuing prefixes", prefixes, [&](std::span<const size_t> members) {
    at::NoGradGuard no_grad;
    std::vector<size_t> sequences;
    for (const size_t m : members) sequences.push_back(whose[m]);
    const std::unique_ptr<ModelCache> cache = model_.NewCache();
    const at::Tensor ids = PaddedPrompts(model_, prefixes, members);
    rolled.Add(*cache, cache->ReadPrefixes(ids), ids.size(1), sequences, scores);
  });
}

absl::StatusOr<Continuations> TeacherForced::Continue(std::span<const PrefixPlace> places) {
  PrefixRollouts rolled(model_, sequences_, places);
  const bool again = tokens_.has_value() || taken_as_read_;
  if (!tokens_.has_value()) LETHE_RETURN_IF_ERROR(Read(again ? nullptr : &rolled));
  std::vector<SequenceScore> scores;
  for (const TokenStatistics& statistics : *tokens_) scores.push_back(statistics.score);
  int64_t read = 0;
  if (again) LETHE_RETURN_IF_ERROR(ReadAgain(scores, rolled, &read));
  Continuations said = rolled.Take(scores);
  said.forward_tokens += read;
  return said;
}

}  // namespace lethe
