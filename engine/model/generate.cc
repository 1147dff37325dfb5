#include "engine/model/generate.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "engine/model/first_choice.h"
#include "engine/model/prompt_groups.h"
#include "engine/model/sampler.h"

namespace lethe {
namespace {

constexpr int64_t kMostRows = 256;  // continuations that run side by side

absl::Status CheckOptions(const LanguageModel& model, std::span<const TokenIds> prompts,
                          const GenerateOptions& options) {
  if (options.max_new_tokens < 0 || options.samples < 1 || !(options.temperature >= 0) ||
      options.top_k < 0 || !(options.top_p > 0 && options.top_p <= 1) ||
      !(options.keys.empty() || options.keys.size() == prompts.size())) {
    return Error(absl::StatusCode::kInvalidArgument, "BAD_SAMPLING",
                 "wanted: max_new_tokens >= 0, samples >= 1, temperature >= 0, top_k >= 0, "
                 "0 < top_p <= 1, a key for each prompt or none");
  }
  return CheckPrompts(model, prompts, options.max_new_tokens);
}

// One continuation that is being written.
struct Draft {
  const TokenIds* prompt;
  CacheRow start;
  TokenIds* out;
  Sampler sampler;

  TokenIds Text() const {
    TokenIds text = *prompt;
    text.insert(text.end(), out->begin(), out->end());
    return text;
  }
};

// The next token of each of hidden's rows; drafts[i] belongs to row i.
std::vector<int32_t> Choose(const LanguageModel& model, const at::Tensor& hidden, bool greedy,
                            std::span<Draft* const> drafts) {
  std::vector<int32_t> tokens;
  if (greedy) {
    return ChooseFirst(model, hidden, [&](int64_t row) { return drafts[row]->Text(); }).tokens;
  }
  const at::Tensor logits = model.Logits(hidden).to(at::kFloat).cpu().contiguous();  // (n,V)
  const auto vocabulary = static_cast<size_t>(logits.size(1));
  for (size_t n = 0; n < drafts.size(); ++n) {
    tokens.push_back(drafts[n]->sampler.Draw(
        std::span(logits.const_data_ptr<float>() + n * vocabulary, vocabulary)));
  }
  return tokens;
}

// Writes some drafts to their end, side by side. last_hidden (P,D): after the last token of each
// prefix.
void WriteDrafts(const LanguageModel& model, ModelCache& cache, const at::Tensor& last_hidden,
                 std::span<Draft> drafts, const GenerateOptions& options) {
  std::vector<CacheRow> rows;
  std::vector<int64_t> live, prefixes;
  std::vector<Draft*> writing;
  for (size_t i = 0; i < drafts.size(); ++i) {
    rows.push_back(drafts[i].start);
    prefixes.push_back(drafts[i].start.prefix);
    live.push_back(static_cast<int64_t>(i));
    writing.push_back(&drafts[i]);
  }
  cache.StartRows(rows);
  at::Tensor hidden = RowsOf(last_hidden, prefixes);
  for (int64_t step = 0; step < options.max_new_tokens && !live.empty(); ++step) {
    std::vector<int32_t> tokens = Choose(model, hidden, options.temperature == 0, writing);
    size_t kept = 0;
    for (size_t n = 0; n < live.size(); ++n) {
      if (tokens[n] == options.stop_id) continue;
      writing[n]->out->push_back(tokens[n]);
      live[kept] = live[n];
      writing[kept] = writing[n];
      tokens[kept++] = tokens[n];
    }
    live.resize(kept);
    writing.resize(kept);
    tokens.resize(kept);
    cache.Keep(live);
    if (kept > 0 && step + 1 < options.max_new_tokens) hidden = cache.Step(live, tokens);
  }
}

// Continues some prompts (`members`: the caller's indexes) that are read in one pass.
void ContinueGroup(const LanguageModel& model, std::span<const TokenIds> prompts,
                   std::span<const size_t> members, const GenerateOptions& options,
                   std::vector<std::vector<TokenIds>>& results) {
  at::NoGradGuard no_grad;
  for (const size_t m : members) results[m].assign(options.samples, {});
  const std::unique_ptr<ModelCache> cache = model.NewCache();
  const at::Tensor last_hidden = ReadPrompts(*cache, model, prompts, members);

  const int64_t row_bytes = std::max<int64_t>(1, cache->RowBytes(options.max_new_tokens));
  const auto side_by_side =
      static_cast<size_t>(std::clamp<int64_t>(options.cache_bytes / row_bytes, 1, kMostRows));
  const SamplingRule rule{options.temperature, options.top_k, options.top_p};
  std::vector<Draft> drafts;  // no more of them at a time: each has a generator of its own
  for (size_t p = 0; p < members.size(); ++p) {
    const size_t m = members[p];
    const uint64_t key = options.keys.empty() ? m : options.keys[m];
    for (int64_t s = 0; s < options.samples; ++s) {
      drafts.push_back({.prompt = &prompts[m],
                        .start = {.prefix = static_cast<int64_t>(p),
                                  .length = static_cast<int64_t>(prompts[m].size()),
                                  .room = std::max<int64_t>(0, options.max_new_tokens - 1)},
                        .out = &results[m][s],
                        .sampler = Sampler(rule, SampleSeed(options.seed, key, s))});
      const bool last = p + 1 == members.size() && s + 1 == options.samples;
      if (drafts.size() < side_by_side && !last) continue;
      WriteDrafts(model, *cache, last_hidden, drafts, options);
      drafts.clear();
    }
  }
}

}  // namespace

absl::StatusOr<std::vector<std::vector<TokenIds>>> GenerateContinuations(
    const LanguageModel& model, std::span<const TokenIds> prompts, const GenerateOptions& options) {
  LETHE_RETURN_IF_ERROR(CheckOptions(model, prompts, options));
  std::vector<std::vector<TokenIds>> results(prompts.size());
  LETHE_RETURN_IF_ERROR(
      ForPromptGroups("generating", prompts, [&](std::span<const size_t> members) {
        ContinueGroup(model, prompts, members, options, results);
      }));
  return results;
}

}  // namespace lethe
