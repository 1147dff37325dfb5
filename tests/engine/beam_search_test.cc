// Beam search against all sequences there are, where so many beams run that none is lost; and what
// must not change what it finds.
#include "engine/model/beam_search.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "engine/model/generate.h"
#include "engine/model/kv_cache.h"
#include "tests/engine/random_families.h"
#include "tests/engine/random_models.h"
#include "tests/support/seeded_random.h"

namespace lethe {
namespace {

at::Tensor Row(const TokenIds& ids) {
  return at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong).unsqueeze(0);
}

// Everything that the model may say after a prompt, each with its score, by whole passes in float64.
struct AllTexts {
  const Decoder& model;
  BeamOptions options;
  std::vector<Hypothesis> found = {};

  void Say(const TokenIds& text, const TokenIds& said, double log_prob) {
    const at::Tensor hidden = model.HiddenInDouble(Row(text));
    const at::Tensor log_probs =
        at::mv(model.OutputWeight().detach().to(at::kDouble), hidden[hidden.size(0) - 1])
            .log_softmax(0);
    const double length = static_cast<double>(said.size()) + 1;
    for (int32_t id = 0; id < log_probs.size(0); ++id) {
      const double sum = log_prob + log_probs[id].item<double>();
      TokenIds longer = said, whole = text;
      longer.push_back(id);
      whole.push_back(id);
      if (id == options.stop_id) {
        found.push_back({said, sum / std::pow(length, options.length_penalty)});
      } else if (length == static_cast<double>(options.max_new_tokens)) {
        found.push_back({longer, sum / std::pow(length, options.length_penalty)});
      } else {
        Say(whole, longer, sum);
      }
    }
  }
};

TEST(BeamSearch, WithAllBeamsTheBestOfAllSequencesIsFound) {
  c10::InferenceMode inference;
  const uint64_t seed = TestSeed(9);
  std::mt19937_64 random(seed);
  int ended = 0;
  for (int round = 0; round < 44; ++round) {
    const int64_t vocab = 2 + round % 3, steps = 2 + random() % 3;
    const Decoder model =
        RandomModel({.vocab = vocab, .tied = random() % 2 == 0, .biases = true}, random());
    const std::vector<TokenIds> prompts = {RandomIds(random, 1 + random() % 6, vocab)};
    BeamOptions options{.beams = static_cast<int64_t>(std::pow(vocab, steps - 1)),
                        .max_new_tokens = steps,
                        .length_penalty = static_cast<double>(random() % 3) / 2,
                        .stop_id = static_cast<int32_t>(random() % (vocab + 1)) - 1};
    AllTexts all{model, options};
    all.Say(prompts[0], {}, 0);
    const auto best = std::max_element(
        all.found.begin(), all.found.end(),
        [](const Hypothesis& a, const Hypothesis& b) { return a.score < b.score; });
    const auto found = SearchBeams(model, prompts, options);
    ASSERT_TRUE(found.ok()) << found.status();
    SCOPED_TRACE(testing::Message() << "LETHE_TEST_SEED=" << seed << ", round " << round);
    const Hypothesis& first = (*found)[0][0];
    EXPECT_NEAR(first.score, best->score, 1e-5);
    const auto same = std::find_if(all.found.begin(), all.found.end(),
                                   [&](const Hypothesis& h) { return h.ids == first.ids; });
    ASSERT_NE(same, all.found.end());
    EXPECT_NEAR(first.score, same->score, 1e-5);  // its score is its own
    ended += static_cast<int64_t>(first.ids.size()) < steps;
  }
  EXPECT_GT(ended, 5);
}

TEST(BeamSearch, CompanyAndMemoryChangeNothing) {
  std::mt19937_64 random(TestSeed(10));
  for (const FamilyCase& c : FamilyCases(17)) {
    SCOPED_TRACE(c.name);
    const Decoder model = RandomDecoder(c.config, random());
    std::vector<TokenIds> prompts;
    for (int i = 0; i < 5; ++i) prompts.push_back(RandomIds(random, 1 + random() % 20, 17));
    const BeamOptions options{.beams = 3, .max_new_tokens = 12, .stop_id = 4};
    const auto together = SearchBeams(model, prompts, options);
    BeamOptions tight = options;
    tight.cache_bytes = 1;
    const auto in_turn = SearchBeams(model, prompts, tight);
    for (size_t p = 0; p < prompts.size(); ++p) {
      const auto alone = SearchBeams(model, std::span(prompts).subspan(p, 1), options);
      ASSERT_EQ((*together)[p].size(), 3u);
      for (size_t i = 0; i < 3; ++i) {
        EXPECT_EQ((*together)[p][i].ids, (*alone)[0][i].ids);
        EXPECT_EQ((*together)[p][i].ids, (*in_turn)[p][i].ids);
        EXPECT_GE((*together)[p][0].score, (*together)[p][i].score);
      }
    }
  }
}

TEST(BeamSearch, OneBeamIsGreedy) {
  const Decoder model = RandomModel({.vocab = 30}, 5);
  const std::vector<TokenIds> prompts = {{1, 2, 3}, {4}};
  const auto found = SearchBeams(model, prompts, {.beams = 1, .max_new_tokens = 20});
  const auto greedy = GenerateContinuations(model, prompts, {.max_new_tokens = 20});
  for (int p = 0; p < 2; ++p) EXPECT_EQ((*found)[p][0].ids, (*greedy)[p][0]);
}

TEST(BeamSearch, Refuses) {
  const Decoder model = RandomModel({}, 4);
  const auto reason = [&](const TokenIds& prompt, const BeamOptions& options) {
    const std::vector<TokenIds> prompts = {prompt};
    return ErrorReason(SearchBeams(model, prompts, options).status());
  };
  EXPECT_EQ(reason({}, {}), "SEQUENCE_TOO_SHORT");
  EXPECT_EQ(reason({1, 99}, {}), "TOKEN_OUT_OF_RANGE");
  EXPECT_EQ(reason(TokenIds(60, 1), {.max_new_tokens = 5}), "SEQUENCE_TOO_LONG");
  EXPECT_EQ(reason({1}, {.beams = 0}), "BAD_SAMPLING");
  EXPECT_EQ(reason({1}, {.length_penalty = NAN}), "BAD_SAMPLING");
  EXPECT_EQ(reason({1}, {.beams = 40, .max_new_tokens = 0}), "");
}

// Rows that go on as others, again and again, give the hidden states of whole passes over the texts
// that they stand for.
TEST(KvCache, RowsGoOnAsOthers) {
  c10::InferenceMode inference;
  std::mt19937_64 random(TestSeed(11));
  for (const bool tensor_ops : {false, true}) {
    for (const FamilyCase& c : FamilyCases(17)) {
      SCOPED_TRACE(testing::Message() << c.name << ", tensor ops " << tensor_ops);
      const Decoder model = RandomDecoder(c.config, random());
      const TokenIds prompt = RandomIds(random, 9, 17);
      KvCache cache(model);
      if (tensor_ops) cache.UseTensorOpsForTest();
      cache.ReadPrefixes(Row(prompt));
      cache.StartRows(std::vector<CacheRow>(5, {.prefix = 0, .length = 7, .room = 20}));
      std::vector<TokenIds> texts(5, TokenIds(prompt.begin(), prompt.begin() + 7));
      const std::vector<int64_t> rows = {0, 1, 2, 3, 4};
      for (int step = 0; step < 20; ++step) {
        std::vector<int64_t> parents;
        std::vector<TokenIds> before = texts;
        std::vector<int32_t> tokens;
        for (int i = 0; i < 5; ++i) {
          parents.push_back(static_cast<int64_t>(random() % 5));
          tokens.push_back(static_cast<int32_t>(random() % 17));
          texts[i] = before[parents[i]];
          texts[i].push_back(tokens[i]);
        }
        cache.ContinueAs(rows, parents);
        const at::Tensor stepped = cache.Step(rows, tokens);
        for (int i = 0; i < 5; ++i) {
          const at::Tensor want = model.Hidden(Row(texts[i]));
          ASSERT_LE((stepped[i] - want[want.size(0) - 1]).abs().max().item<double>(), 1e-4)
              << "row " << i << " step " << step;
        }
      }
    }
  }
}

}  // namespace
}  // namespace lethe
