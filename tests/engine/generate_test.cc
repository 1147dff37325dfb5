// The KV cache and the generator against whole forward passes, one a token; the sampler against its
// definition.
#include "engine/model/generate.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "engine/model/kv_cache.h"
#include "engine/model/sampler.h"
#include "tests/engine/random_families.h"
#include "tests/engine/random_models.h"
#include "tests/support/seeded_random.h"

namespace lethe {
namespace {

at::Tensor Row(const TokenIds& ids) {
  return at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong).unsqueeze(0);
}

std::vector<FamilyCase> Models(int64_t vocab) {
  std::vector<FamilyCase> cases = FamilyCases(vocab);
  const auto add = [&](const std::string& name, const RandomShape& shape) {
    cases.push_back({name, "", ConfigOf(shape)});
  };
  add("one head of two", {.vocab = vocab, .heads = 1, .kv_heads = 1, .head_dim = 2});
  add("wide heads",
      {.vocab = vocab, .hidden = 16, .layers = 1, .heads = 6, .kv_heads = 2, .head_dim = 16});
  return cases;
}

// Rows that begin anywhere in shared prefixes, of different rooms, stepped in changing company,
// give the hidden states of whole passes.
TEST(KvCache, StepsEqualWholePasses) {
  c10::InferenceMode inference;
  enum Mode { kLoops, kTensorOps, kTensorOpsThatMove, kRowsWait };
  for (const Mode mode : {kLoops, kTensorOps, kTensorOpsThatMove, kRowsWait}) {
    for (const FamilyCase& c : Models(17)) {
      SCOPED_TRACE(testing::Message() << c.name << ", mode " << mode);
      const Decoder model = RandomDecoder(c.config, 4);
      const int64_t vocab = c.config.vocab_size;
      std::mt19937_64 random(TestSeed(3));
      std::vector<TokenIds> prefixes;
      at::Tensor ids = at::zeros({3, 21}, at::kLong);
      for (int64_t p = 0; p < 3; ++p) {
        prefixes.push_back(RandomIds(random, 21 - 4 * p, vocab));
        ids[p].narrow(0, 0, 21 - 4 * p).copy_(Row(prefixes[p])[0]);
      }
      KvCache cache(model);
      if (mode != kLoops) cache.UseTensorOpsForTest();
      const at::Tensor hidden = cache.ReadPrefixes(ids).view({3, 21, -1});
      for (int64_t p = 0; p < 3; ++p) {
        const at::Tensor want = model.Hidden(Row(prefixes[p]));
        EXPECT_LE((hidden[p].narrow(0, 0, want.size(0)) - want).abs().max().item<double>(), 1e-4);
      }
      std::vector<CacheRow> rows;
      std::vector<TokenIds> texts;
      for (int64_t i = 0; i < 9; ++i) {
        const int64_t prefix = i % 3, most = static_cast<int64_t>(prefixes[prefix].size());
        rows.push_back({.prefix = prefix,
                        .length = 1 + static_cast<int64_t>(random() % most),
                        .room = 1 + 3 * i});
        texts.emplace_back(prefixes[prefix].begin(), prefixes[prefix].begin() + rows.back().length);
      }
      cache.StartRows(rows);
      std::vector<int64_t> left;
      for (const CacheRow& row : rows) left.push_back(row.room);
      for (int64_t step = 0; step < 25; ++step) {
        std::vector<int64_t> live;
        std::vector<int32_t> tokens;
        for (int64_t i = 8; i >= 0; --i) {
          if (left[i] == 0 || (mode == kRowsWait && random() % 3 == 0)) continue;
          --left[i];
          live.push_back(i);
          tokens.push_back(static_cast<int32_t>(random() % vocab));
          texts[i].push_back(tokens.back());
        }
        const at::Tensor stepped = cache.Step(live, tokens);
        for (size_t n = 0; n < live.size(); ++n) {
          const at::Tensor want = model.Hidden(Row(texts[live[n]]));
          ASSERT_LE((stepped[n] - want[want.size(0) - 1]).abs().max().item<double>(), 1e-4)
              << "row " << live[n] << " step " << step;
        }
        std::erase_if(live, [&](int64_t row) { return left[row] == 0; });
        if (mode == kTensorOpsThatMove) cache.Keep(live);
      }
    }
  }
}

TokenIds SlowGreedy(const Decoder& model, TokenIds text, int64_t count, double* margin) {
  c10::InferenceMode inference;
  TokenIds said;
  for (int64_t i = 0; i < count; ++i) {
    const at::Tensor hidden = model.Hidden(Row(text));
    const auto [values, places] = model.Logits(hidden.narrow(0, hidden.size(0) - 1, 1))[0].topk(2);
    *margin = std::min(*margin, (values[0] - values[1]).item<double>());
    said.push_back(static_cast<int32_t>(places[0].item<int64_t>()));
    text.push_back(said.back());
  }
  return said;
}

TEST(Generate, GreedyEqualsOneWholePassAToken) {
  std::mt19937_64 random(TestSeed(17));
  for (const FamilyCase& c : Models(23)) {
    SCOPED_TRACE(c.name);
    const Decoder model = RandomDecoder(c.config, random());
    std::vector<TokenIds> prompts, want;
    double margin = 1e9;
    for (int i = 0; i < 12; ++i) {
      prompts.push_back(RandomIds(random, 1 + random() % 30, c.config.vocab_size));
      want.push_back(SlowGreedy(model, prompts.back(), 20, &margin));
    }
    ASSERT_GT(margin, 1e-4) << "a tie: choose another seed";
    const auto said = GenerateContinuations(model, prompts, {.max_new_tokens = 20});
    ASSERT_TRUE(said.ok()) << said.status();
    for (size_t i = 0; i < prompts.size(); ++i) {
      EXPECT_THAT((*said)[i], testing::ElementsAre(want[i])) << "prompt " << i;
    }
    // A budget for one row at a time changes nothing.
    EXPECT_EQ(*GenerateContinuations(model, prompts, {.max_new_tokens = 20, .cache_bytes = 1}),
              *said);
  }
}

TEST(Generate, StopsBeforeTheEndToken) {
  const Decoder model = RandomModel({}, 4);
  const std::vector<TokenIds> prompts = {{1, 2, 3}, {4, 5}};
  const auto whole = GenerateContinuations(model, prompts, {.max_new_tokens = 20});
  const int32_t stop = (*whole)[0][0][5];
  const auto cut = GenerateContinuations(model, prompts, {.max_new_tokens = 20, .stop_id = stop});
  for (int p = 0; p < 2; ++p) {
    TokenIds want = (*whole)[p][0];
    want.erase(std::find(want.begin(), want.end(), stop), want.end());
    EXPECT_EQ((*cut)[p][0], want);
  }
  EXPECT_LT((*cut)[0][0].size(), 6u);
}

TEST(Generate, SamplesAreReproducibleAndTheirOwn) {
  const Decoder model = RandomModel({.vocab = 50}, 4);
  const std::vector<TokenIds> prompts = {{1, 2, 3}, {4, 5}, {1, 2, 3}};
  const GenerateOptions options{.max_new_tokens = 12, .samples = 8, .temperature = 2.0, .seed = 5};
  const auto drawn = GenerateContinuations(model, prompts, options);
  EXPECT_EQ(*drawn, *GenerateContinuations(model, prompts, options));
  std::set<TokenIds> different;
  for (const auto& samples : *drawn) different.insert(samples.begin(), samples.end());
  EXPECT_GT(different.size(), 20u);
  // Fewer samples, other company: the first ones stay.
  GenerateOptions fewer = options;
  fewer.samples = 2;
  fewer.cache_bytes = 1;
  const auto again = GenerateContinuations(model, std::span(prompts).first(1), fewer);
  EXPECT_THAT((*again)[0], testing::ElementsAre((*drawn)[0][0], (*drawn)[0][1]));
}

TEST(Generate, RefusesWhatCannotBe) {
  const Decoder model = RandomModel({}, 4);
  const auto reason = [&](const TokenIds& prompt, const GenerateOptions& options) {
    const std::vector<TokenIds> prompts = {prompt};
    return ErrorReason(GenerateContinuations(model, prompts, options).status());
  };
  EXPECT_EQ(reason({}, {.max_new_tokens = 3}), "SEQUENCE_TOO_SHORT");
  EXPECT_EQ(reason({1, 99}, {.max_new_tokens = 3}), "TOKEN_OUT_OF_RANGE");
  EXPECT_EQ(reason(TokenIds(60, 1), {.max_new_tokens = 5}), "SEQUENCE_TOO_LONG");
  EXPECT_EQ(reason(TokenIds(60, 1), {.max_new_tokens = 4}), "");
  EXPECT_EQ(reason({1}, {.max_new_tokens = 3, .temperature = -1}), "BAD_SAMPLING");
  EXPECT_EQ(reason({1}, {.max_new_tokens = 3, .temperature = NAN}), "BAD_SAMPLING");
  EXPECT_EQ(reason({1}, {.max_new_tokens = 3, .top_p = 0}), "BAD_SAMPLING");
  EXPECT_EQ(reason({1}, {.max_new_tokens = 3, .samples = 0}), "BAD_SAMPLING");
}

// 40,000 draws: each share within five standard deviations of its probability.
void ExpectShares(const SamplingRule& rule, const std::vector<float>& logits,
                  const std::vector<double>& want) {
  Sampler sampler(rule, SampleSeed(TestSeed(1), 2, 3));
  std::vector<double> counts(logits.size(), 0);
  constexpr int kDraws = 40000;
  for (int i = 0; i < kDraws; ++i) ++counts[sampler.Draw(logits)];
  for (size_t id = 0; id < want.size(); ++id) {
    const double spread = std::sqrt(want[id] * (1 - want[id]) / kDraws);
    EXPECT_LE(std::abs(counts[id] / kDraws - want[id]), 5 * spread) << "id " << id;
  }
}

// Probabilities 1/2, 1/4, 1/8, 1/8 as logits.
TEST(Sampler, SharesAreTheProbabilities) {
  const std::vector<float> logits = {std::log(.125f), std::log(.5f), std::log(.25f),
                                     std::log(.125f)};
  ExpectShares({}, logits, {.125, .5, .25, .125});
  ExpectShares({.temperature = 0.5}, logits, {1 / 22.0, 16 / 22.0, 4 / 22.0, 1 / 22.0});  // squares
  ExpectShares({.top_k = 2}, logits, {0, 2 / 3.0, 1 / 3.0, 0});
  ExpectShares({.top_k = 3}, logits, {1 / 7.0, 4 / 7.0, 2 / 7.0, 0});  // of equals the lower id
  ExpectShares({.top_p = 0.5}, logits, {0, 1, 0, 0});
  ExpectShares({.top_p = 0.51}, logits, {0, 2 / 3.0, 1 / 3.0, 0});
  ExpectShares({.top_p = 0.76}, logits, {1 / 7.0, 4 / 7.0, 2 / 7.0, 0});
  ExpectShares({.top_k = 2, .top_p = 0.6}, logits, {0, 1, 0, 0});  // 2/3 of what top-k left
}

// The definition once more, by sorting everything: probabilities of what may be drawn.
std::vector<double> Distribution(const std::vector<double>& logits, const SamplingRule& rule) {
  std::vector<std::pair<double, int>> order;  // falling probability, rising id
  double total = 0;
  for (size_t id = 0; id < logits.size(); ++id) {
    order.emplace_back(-std::exp(logits[id] / rule.temperature), static_cast<int>(id));
  }
  std::sort(order.begin(), order.end());
  if (rule.top_k > 0) order.resize(std::min<size_t>(order.size(), rule.top_k));
  for (const auto& [weight, id] : order) total -= weight;
  double sum = 0, kept = 0;
  std::vector<double> shares(logits.size(), 0);
  for (const auto& [weight, id] : order) {
    if (sum >= rule.top_p * total) break;
    sum -= weight;
    shares[id] = -weight;
    kept -= weight;
  }
  for (double& share : shares) share /= kept;
  return shares;
}

TEST(Sampler, SharesAreThoseOfTheDefinitionForRandomRules) {
  std::mt19937_64 random(TestSeed(12));
  const auto uniform = [&] { return static_cast<double>(random() >> 11) * 0x1p-53; };
  for (int round = 0; round < 40; ++round) {
    std::vector<float> logits;
    for (int id = 0; id < 12; ++id) logits.push_back(static_cast<float>(uniform() * 6));
    const SamplingRule rule{.temperature = 0.3 + 2 * uniform(),
                            .top_k = static_cast<int64_t>(random() % 14),
                            .top_p = random() % 3 ? 0.05 + 0.9 * uniform() : 1};
    SCOPED_TRACE(testing::Message() << "temperature " << rule.temperature << ", top_k "
                                    << rule.top_k << ", top_p " << rule.top_p);
    ExpectShares(rule, logits, Distribution({logits.begin(), logits.end()}, rule));
  }
}

// What is drawn behind a prompt follows the model's own probabilities there.
TEST(Generate, SamplesFollowTheModelsProbabilities) {
  c10::InferenceMode inference;
  const Decoder model = RandomModel({.vocab = 15}, 8);
  const std::vector<TokenIds> prompts = {{1, 2, 3, 4}};
  const at::Tensor hidden = model.HiddenInDouble(Row(prompts[0]));
  const at::Tensor logits = at::mv(model.OutputWeight().detach().to(at::kDouble), hidden[3]);
  const double* from = logits.const_data_ptr<double>();
  const SamplingRule rule{.temperature = 3, .top_k = 9, .top_p = 0.9};
  const auto want = Distribution({from, from + 15}, rule);
  constexpr int kSamples = 20000;
  const auto drawn = GenerateContinuations(model, prompts,
                                           {.max_new_tokens = 1,
                                            .samples = kSamples,
                                            .temperature = rule.temperature,
                                            .top_k = rule.top_k,
                                            .top_p = rule.top_p,
                                            .seed = TestSeed(13)});
  ASSERT_TRUE(drawn.ok()) << drawn.status();
  std::vector<double> counts(15, 0);
  for (const TokenIds& ids : (*drawn)[0]) ++counts[ids[0]];
  int possible = 0;
  for (int id = 0; id < 15; ++id) {
    const double spread = std::sqrt(want[id] * (1 - want[id]) / kSamples);
    EXPECT_LE(std::abs(counts[id] / kSamples - want[id]), 5 * spread) << "id " << id;
    possible += want[id] > 0;
  }
  EXPECT_GT(possible, 4);
}

}  // namespace
}  // namespace lethe
