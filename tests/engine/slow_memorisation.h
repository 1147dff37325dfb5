// MA and EL_n as the definition says (METHODS.md A1): one greedy continuation a prefix, whole forward
// passes without a cache, sets of n-grams, all in float64, so that no choice rests on rounding. The
// twin that tests hold the fast algorithm to; it shares nothing with it but the model's weights.
#ifndef LETHE_TESTS_ENGINE_SLOW_MEMORISATION_H_
#define LETHE_TESTS_ENGINE_SLOW_MEMORISATION_H_

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "engine/model/language_model.h"
#include "tests/engine/slow_logits.h"
#include "text/sequence.h"

namespace lethe {

struct SlowMemorisation {
  double ma = 0;
  std::map<int64_t, double> el;
  std::vector<int32_t> greedy_next;
  std::vector<std::vector<int32_t>>
      said;                      // [i-1]: x[:i] and its greedy continuation up to T tokens
  double smallest_margin = 1e9;  // best logit minus the best that is not equal, over all choices
};

inline std::multiset<std::vector<int32_t>> Grams(const std::vector<int32_t>& x, int64_t n) {
  std::multiset<std::vector<int32_t>> grams;
  for (int64_t k = 0; k + n <= static_cast<int64_t>(x.size()); ++k) {
    grams.insert({x.begin() + k, x.begin() + k + n});
  }
  return grams;
}

// The first choice after each text: of logits that float64 cannot tell apart, the lowest id. Texts are
// read side by side, padded on the right.
inline std::vector<int32_t> SlowChoices(const LanguageModel& model,
                                        const std::vector<std::vector<int32_t>>& texts,
                                        double* margin) {
  size_t longest = 0;
  for (const auto& text : texts) longest = std::max(longest, text.size());
  at::Tensor ids =
      at::zeros({static_cast<int64_t>(texts.size()), static_cast<int64_t>(longest)}, at::kLong);
  for (size_t i = 0; i < texts.size(); ++i) {
    std::copy(texts[i].begin(), texts[i].end(), ids.data_ptr<int64_t>() + i * longest);
  }
  const at::Tensor logits = SlowLogits(model, ids).contiguous();
  std::vector<int32_t> choices;
  for (size_t i = 0; i < texts.size(); ++i) {
    const int64_t row = static_cast<int64_t>(i * longest + texts[i].size()) - 1;
    const double* from = logits.const_data_ptr<double>() + row * logits.size(1);
    const std::vector<double> row_logits(from, from + logits.size(1));
    const double best = *std::max_element(row_logits.begin(), row_logits.end());
    int32_t choice = -1;
    for (size_t id = 0; id < row_logits.size(); ++id) {
      const double behind = best - row_logits[id];
      if (behind >= 1e-12 * std::max(1.0, std::abs(best))) {
        *margin = std::min(*margin, behind);
      } else if (choice < 0) {
        choice = static_cast<int32_t>(id);
      }
    }
    choices.push_back(choice);
  }
  return choices;
}

inline SlowMemorisation MeasureSlowly(const LanguageModel& model, const Sequence& sequence,
                                      const std::vector<int64_t>& el_n) {
  c10::InferenceMode inference;
  SlowMemorisation result;
  const std::vector<int32_t>& x = sequence.ids;
  const auto T = static_cast<int64_t>(x.size());
  const int64_t start = std::max<int64_t>(1, sequence.prompt_tokens);
  std::vector<std::vector<int32_t>>& said = result.said;
  for (int64_t i = 1; i < T; ++i) said.emplace_back(x.begin(), x.begin() + i);
  while (static_cast<int64_t>(said.front().size()) < T) {
    // The shorter prefixes have the longer way to go: those that are done lie behind.
    const auto open = std::find_if(said.begin(), said.end(), [&](const auto& text) {
      return static_cast<int64_t>(text.size()) == T;
    });
    const auto choices = SlowChoices(model, {said.begin(), open}, &result.smallest_margin);
    for (size_t k = 0; k < choices.size(); ++k) said[k].push_back(choices[k]);
  }
  std::map<int64_t, double> sums;
  std::map<int64_t, int64_t> terms;
  int64_t hits = 0;
  for (int64_t i = 1; i < T; ++i) {
    const std::vector<int32_t> generated(said[i - 1].begin() + i, said[i - 1].end()),
        label(x.begin() + i, x.end());
    result.greedy_next.push_back(generated[0]);
    if (i < start) continue;
    hits += generated[0] == label[0];
    for (const int64_t n : el_n) {
      const auto wanted = Grams(label, n);
      if (wanted.empty()) continue;
      int64_t found = 0;
      for (const auto& gram : Grams(generated, n)) found += wanted.count(gram) > 0;
      sums[n] += static_cast<double>(found) / static_cast<double>(wanted.size());
      ++terms[n];
    }
  }
  result.ma = static_cast<double>(hits) / static_cast<double>(T - start);
  for (const auto& [n, sum] : sums) result.el[n] = sum / static_cast<double>(terms[n]);
  return result;
}

}  // namespace lethe

#endif  // LETHE_TESTS_ENGINE_SLOW_MEMORISATION_H_
