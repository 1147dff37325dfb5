// Beam search as an attack: it finds likeliest texts that do not begin with the first choice.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/engine/attack/run_attack.h"
#include "tests/engine/random_models.h"

namespace lethe {
namespace {

// NLL of all pairs after a prompt: [a * vocab + b].
std::vector<double> PairNll(const Decoder& model, const TokenIds& prompt, int32_t vocab) {
  std::vector<Sequence> sequences;
  for (int32_t a = 0; a < vocab; ++a) {
    for (int32_t b = 0; b < vocab; ++b) {
      TokenIds ids = prompt;
      ids.push_back(a);
      ids.push_back(b);
      sequences.push_back({.ids = ids, .prompt_tokens = static_cast<int32_t>(prompt.size())});
    }
  }
  std::vector<double> nll;
  const auto scores = ScoreSequences(model, sequences);
  for (const SequenceScore& s : *scores) nll.push_back(s.total_nll);
  return nll;
}

TEST(BeamExtraction, FindsTheLikeliestPairWhereGreedyDoesNot) {
  const Decoder model = RandomModel({.vocab = 7, .context = 16}, 3);
  int seen = 0;
  for (int32_t first = 0; first < 7; ++first) {
    for (int32_t second = 0; second < 7; ++second) {
      const TokenIds prompt = {first, second};
      const std::vector<double> nll = PairNll(model, prompt, 7);
      const auto best =
          static_cast<int32_t>(std::min_element(nll.begin(), nll.end()) - nll.begin());
      const Sequence secret{.ids = {first, second, best / 7, best % 7}};
      const Sequence said = Greedy(model, prompt, 4);
      if (said.ids == secret.ids) continue;
      ++seen;
      const auto greedy = RunAttack("greedy_extraction", model, {secret},
                                    {.overrides = {{"prefix_quarters", 0}, {"prefix_tokens", 2}}});
      const auto beam =
          RunAttack("beam_extraction", model, {secret}, {.overrides = {{"beams", 7}}});
      ASSERT_TRUE(beam.ok()) << beam.status();
      EXPECT_LT(greedy->scores[0], 1);
      EXPECT_EQ(beam->scores[0], 1);
      EXPECT_EQ(beam->details.at("exact_match")[0], 1);
      EXPECT_EQ(beam->forward_tokens, 2 + 7 * 2);
      const auto one = RunAttack("beam_extraction", model, {secret}, {.overrides = {{"beams", 1}}});
      EXPECT_EQ(one->scores, greedy->scores);  // one beam is greedy
    }
  }
  EXPECT_GT(seen, 0);
}

}  // namespace
}  // namespace lethe
