// How far fp32 is from float64 in the distance of the two best logits: what TieBound has to cover.
#ifndef LETHE_TESTS_ENGINE_CHOICE_NOISE_H_
#define LETHE_TESTS_ENGINE_CHOICE_NOISE_H_

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/model/first_choice.h"
#include "engine/model/language_model.h"
#include "tests/engine/slow_logits.h"

namespace lethe {

// Of texts of one length: the largest error of that distance over all their positions, as a part of
// the bound; in one pass over all texts, and with the cache, a token at a time.
inline double ChoiceNoise(const LanguageModel& model,
                          const std::vector<std::vector<int32_t>>& texts) {
  c10::InferenceMode inference;
  const auto rows = static_cast<int64_t>(texts.size()), T = static_cast<int64_t>(texts[0].size());
  at::Tensor ids = at::empty({rows, T}, at::kLong);
  for (int64_t b = 0; b < rows; ++b) {
    std::copy(texts[b].begin(), texts[b].end(), ids.data_ptr<int64_t>() + b * T);
  }
  const auto distances = [](const at::Tensor& logits, const at::Tensor& places) {
    const at::Tensor two = logits.gather(1, places);
    return (two.select(1, 0).to(at::kDouble) - two.select(1, 1).to(at::kDouble));
  };
  const std::unique_ptr<ModelCache> cache = model.NewCache();
  cache->ReadPrefixes(ids.narrow(1, 0, 1));
  std::vector<CacheRow> starts;
  std::vector<int64_t> all;
  for (int64_t b = 0; b < rows; ++b) {
    starts.push_back({.prefix = b, .length = 1, .room = T - 1});
    all.push_back(b);
  }
  cache->StartRows(starts);
  const at::Tensor passed = model.Hidden(ids).view({rows, T, -1});
  const at::Tensor precise = SlowLogits(model, ids).view({rows, T, -1});
  double worst = 0;
  for (int64_t t = 1; t < T; ++t) {
    std::vector<int32_t> tokens;
    for (const auto& text : texts) tokens.push_back(text[t]);
    const at::Tensor logits = precise.select(1, t);
    const at::Tensor places = std::get<1>(logits.topk(2, 1)), want = distances(logits, places);
    const at::Tensor largest = model.Logits(passed.select(1, t)).amax(1);
    for (const at::Tensor& hidden : {passed.select(1, t), cache->Step(all, tokens)}) {
      const at::Tensor error = (distances(model.Logits(hidden), places) - want).abs();
      for (int64_t b = 0; b < rows; ++b) {
        worst = std::max(worst, error[b].item<double>() / TieBound(largest[b].item<double>()));
      }
    }
  }
  return worst;
}

}  // namespace lethe

#endif  // LETHE_TESTS_ENGINE_CHOICE_NOISE_H_
