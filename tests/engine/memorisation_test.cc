// MA and EL_n against their definition, one greedy generation a prefix, over a thousand random
// sequences.
#include "engine/metric/memorisation.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "engine/metric/ngram_overlap.h"
#include "engine/model/generate.h"
#include "tests/engine/random_families.h"
#include "tests/engine/random_models.h"
#include "tests/engine/slow_memorisation.h"
#include "tests/engine/tensor_ops.h"
#include "tests/support/seeded_random.h"

namespace lethe {
namespace {

TEST(NgramOverlap, LastOccurrencesEqualASearch) {
  std::mt19937_64 random(TestSeed(2));
  for (int round = 0; round < 300; ++round) {
    const auto reference = RandomIds(random, 1 + random() % 20, 3);
    const auto text = RandomIds(random, 1 + random() % 20, 4);
    const int64_t n = 1 + random() % 5, first = random() % 4;
    const auto last = LastOccurrences(text, reference, n, first);
    const auto T = static_cast<int64_t>(text.size()), R = static_cast<int64_t>(reference.size());
    ASSERT_EQ(static_cast<int64_t>(last.size()), std::max<int64_t>(0, T - n - first + 1));
    for (int64_t s = first; s + n <= T; ++s) {
      int64_t want = -1;
      for (int64_t p = 0; p + n <= R; ++p) {
        if (std::equal(text.begin() + s, text.begin() + s + n, reference.begin() + p)) want = p;
      }
      ASSERT_EQ(last[s - first], want);
    }
  }
}

// Dead means: no continuation whatever adds an n-gram of the reference. Tried out over an alphabet
// of three.
TEST(NgramOverlap, ATrackerIsAliveWhileAContinuationCanMatch) {
  std::mt19937_64 random(TestSeed(4));
  int dead = 0;
  for (int round = 0; round < 300; ++round) {
    const auto reference = RandomIds(random, 1 + random() % 8, 3);
    auto text = RandomIds(random, 1 + random() % 8, 3);
    const int64_t n = 1 + random() % 4, left = random() % 4;
    const auto last = static_cast<int64_t>(random() % text.size());
    OverlapTracker tracker(reference, n);
    tracker.Start(text, last);
    for (size_t t = last + 1; t < text.size(); ++t) tracker.Append(text[t]);
    bool can = false;
    for (int64_t code = 0; code < 27 && !can; ++code) {
      auto longer = text;
      for (int64_t i = 0, rest = code; i < left; ++i, rest /= 3) longer.push_back(rest % 3);
      for (int64_t s = 0; s + n <= static_cast<int64_t>(longer.size()); ++s) {
        // Grams that are complete already do not count, but the one that ends with the text keeps
        // it alive.
        if (s + n < static_cast<int64_t>(text.size())) continue;
        can |= std::search(reference.begin(), reference.end(), longer.begin() + s,
                           longer.begin() + s + n) != reference.end();
      }
    }
    EXPECT_TRUE(!can || tracker.Alive(left));
    dead += !tracker.Alive(left);
  }
  EXPECT_GT(dead, 50);
}

// A sequence that the model half knows: its own greedy text with some tokens changed.
TokenIds HalfKnown(const Decoder& model, std::mt19937_64& random, int64_t tokens, int64_t vocab) {
  const std::vector<TokenIds> prompt = {RandomIds(random, 1 + random() % 3, vocab)};
  TokenIds ids = prompt[0];
  if (static_cast<int64_t>(ids.size()) < tokens) {
    const auto said = GenerateContinuations(
        model, prompt, {.max_new_tokens = tokens - static_cast<int64_t>(ids.size())});
    ids.insert(ids.end(), (*said)[0][0].begin(), (*said)[0][0].end());
  }
  ids.resize(tokens);
  const uint64_t changes = random() % 4;
  for (uint64_t i = 0; i < changes; ++i) {
    ids[random() % tokens] = static_cast<int32_t>(random() % vocab);
  }
  return ids;
}

// How two rows of the output weight are made alike.
enum class Twins { kNone, kEqual, kNear };

// Token `second` becomes as likely as `first`: exactly, or but for what one weight's last bit moves,
// some 1e-8 of a logit. (Where weights are tied, both are read alike, too.)
void MakeTwins(const Decoder& model, Twins twins, int64_t first, int64_t second) {
  if (twins == Twins::kNone) return;
  at::NoGradGuard no_grad;
  at::Tensor weight = model.OutputWeight().detach();
  weight[second].copy_(weight[first]);
  if (twins == Twins::kEqual) return;
  float& bit = weight.data_ptr<float>()[second * weight.size(1)];
  bit = std::nextafter(bit, 2.0f);
}

// A random model of the round's family with sequences that it knows by heart, half or not at all.
struct RandomCases {
  FamilyCase family;
  Decoder model;
  std::vector<Sequence> sequences;
  MemorisationOptions options;
};

RandomCases MakeCases(std::mt19937_64& random, int round, Twins twins) {
  const auto vocab = static_cast<int64_t>(4 + random() % 12);
  std::vector<FamilyCase> families =
      FamilyCases(vocab, {{"tie_word_embeddings", random() % 2 == 0}});
  const FamilyCase family = families[round % families.size()];
  RandomCases cases{family, RandomDecoder(family.config, random()), {}, {}};
  MakeTwins(cases.model, twins, 1 + random() % 2, random() % 2 * 3);
  for (int i = 0; i < 8; ++i) {
    const int64_t tokens = random() % 5 ? 2 + random() % 12 : 14 + random() % 12;
    TokenIds ids = random() % 3 ? HalfKnown(cases.model, random, tokens, vocab)
                                : RandomIds(random, tokens, vocab);
    if (random() % 4 == 0) {  // n-grams that come back
      for (int64_t t = tokens / 2; t < tokens; ++t) ids[t] = ids[t - tokens / 2];
    }
    cases.sequences.push_back({.ids = std::move(ids)});
    if (random() % 4 == 0) {
      cases.sequences.back().prompt_tokens = static_cast<int32_t>(random() % tokens);
    }
  }
  const std::vector<int64_t> sets[] = {{3, 5, 10}, {1, 2, 3}, {4, 2}, {10}, {5, 3}};
  cases.options = {.el_n = sets[random() % 5], .cache_bytes = random() % 2 ? 1 : 1 << 20};
  return cases;
}

// What METHODS.md A1's algorithm feeds to the model, from the greedy continuations themselves: T
// tokens, and for each mistake m that some prefix up to T-n needs, the tokens from m on while the
// longest end of the text that stands in x can still grow to n tokens in the steps that are left.
int64_t ForwardTokensOfA1(const Sequence& sequence, const SlowMemorisation& slow, int64_t n) {
  const TokenIds& x = sequence.ids;
  const auto T = static_cast<int64_t>(x.size());
  int64_t fed = T, before = std::max<int64_t>(1, sequence.prompt_tokens) - 1;
  for (int64_t m = before + 1; m < T; ++m) {
    const TokenIds& z = slow.said[m - 1];
    if (z[m] == x[m]) continue;
    if (before >= T - n) break;
    for (int64_t p = m; p < T - 1; ++p, ++fed) {
      int64_t longest = std::min(n, p + 1);
      while (longest > 0 && std::search(x.begin(), x.end(), z.begin() + p + 1 - longest,
                                        z.begin() + p + 1) == x.end()) {
        --longest;
      }
      if (longest + (T - 1 - p) < n) break;
    }
    before = m;
  }
  return fed;
}

TEST(Memorisation, EqualsTheDefinitionInAThousandRandomCases) {
  const uint64_t seed = TestSeed(20);
  std::mt19937_64 random(seed);
  int64_t cases = 0, rollouts = 0, prefixes = 0, ties = 0;
  std::set<double> values;
  for (int round = 0; round < 126; ++round) {
    const Twins twins = static_cast<Twins>(std::max(0, round % 6 - 3));
    const RandomCases c = MakeCases(random, round, twins);
    SCOPED_TRACE(testing::Message() << c.family.name << ", LETHE_TEST_SEED=" << seed << ", round "
                                    << round << ", twins " << static_cast<int>(twins));
    const auto fast = MeasureMemorisation(c.model, c.sequences, c.options);
    ASSERT_TRUE(fast.ok()) << fast.status();
    for (size_t i = 0; i < c.sequences.size(); ++i) {
      const Memorisation& m = (*fast)[i];
      const SlowMemorisation slow = MeasureSlowly(c.model, c.sequences[i], c.options.el_n);
      ASSERT_EQ(m.greedy_next, slow.greedy_next) << "sequence " << i;
      ASSERT_NEAR(m.ma, slow.ma, 1e-12) << "sequence " << i;
      ASSERT_EQ(m.el.size(), slow.el.size());
      for (const auto& [n, value] : slow.el) {
        ASSERT_NEAR(m.el.at(n), value, 1e-9) << "EL_" << n << " of sequence " << i;
        values.insert(value);
      }
      const auto& n = c.options.el_n;
      ASSERT_EQ(m.forward_tokens,
                ForwardTokensOfA1(c.sequences[i], slow, *std::min_element(n.begin(), n.end())))
          << "sequence " << i;
      ++cases;
      ties += m.ties;
      rollouts += m.rollouts;
      prefixes += static_cast<int64_t>(c.sequences[i].ids.size()) - 1;
    }
  }
  EXPECT_GE(cases, 1000);
  EXPECT_GT(ties, 100);
  EXPECT_GT(values.size(), 200u);          // not all 0 or 1
  EXPECT_LT(rollouts, prefixes * 9 / 10);  // fewer than one a prefix
}

// As a GPU measures: rows in places, moved as others end.
TEST(Memorisation, IsTheSameInTensorOps) {
  std::mt19937_64 random(TestSeed(6));
  for (const FamilyCase& c : FamilyCases(12)) {
    SCOPED_TRACE(c.name);
    const Decoder model = RandomDecoder(c.config, 4);
    std::vector<Sequence> texts;
    for (int64_t i = 0; i < 5; ++i) {
      texts.push_back({.ids = HalfKnown(model, random, 20 + 7 * i, 12)});
    }
    const auto loops = MeasureMemorisation(model, texts, {.el_n = {2, 3}}).value();
    const TensorOps as_on_a_gpu;
    const auto measured = MeasureMemorisation(model, texts, {.el_n = {2, 3}}).value();
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(measured[i].ma, loops[i].ma);
      EXPECT_EQ(measured[i].el, loops[i].el);
      EXPECT_EQ(measured[i].forward_tokens, loops[i].forward_tokens);
    }
  }
}

TEST(Memorisation, TextThatTheModelSaysItselfNeedsNoRollout) {
  const Decoder model = RandomModel({}, 4);
  const std::vector<TokenIds> prompt = {{1, 2}};
  TokenIds ids = prompt[0];
  const auto said = GenerateContinuations(model, prompt, {.max_new_tokens = 40});
  ids.insert(ids.end(), (*said)[0][0].begin(), (*said)[0][0].end());
  const auto m =
      MeasureMemorisation(model, {{{.ids = ids, .prompt_tokens = 2}}}, {.el_n = {3, 10}});
  ASSERT_TRUE(m.ok());
  EXPECT_EQ((*m)[0].ma, 1.0);
  EXPECT_EQ((*m)[0].el.at(3), 1.0);
  EXPECT_EQ((*m)[0].el.at(10), 1.0);
  EXPECT_EQ((*m)[0].rollouts, 0);
  EXPECT_EQ((*m)[0].forward_tokens, 42);
}

TEST(Memorisation, ShortSequencesHaveNoLongGrams) {
  const Decoder model = RandomModel({}, 4);
  const auto m =
      MeasureMemorisation(model, {{{.ids = {1, 2, 3}}, {.ids = {1, 2, 3, 4}}}}, {.el_n = {3}});
  EXPECT_TRUE((*m)[0].el.empty());  // T - n = 0 prefixes
  EXPECT_EQ((*m)[1].el.size(), 1u);
  const auto ma_only = MeasureMemorisation(model, {{{.ids = {1, 2, 3}}}}, {.el_n = {}});
  EXPECT_EQ((*ma_only)[0].ma, (*m)[0].ma);
  EXPECT_TRUE((*ma_only)[0].el.empty());
}

TEST(Memorisation, RefusesWhatCannotBeMeasured) {
  const Decoder model = RandomModel({}, 4);
  const auto reason = [&](const Sequence& s, std::vector<int64_t> n) {
    return ErrorReason(MeasureMemorisation(model, {{s}}, {.el_n = std::move(n)}).status());
  };
  EXPECT_EQ(reason({.ids = {1}}, {3}), "SEQUENCE_TOO_SHORT");
  EXPECT_EQ(reason({.ids = {1, 2}, .prompt_tokens = 2}, {3}), "SEQUENCE_TOO_SHORT");
  EXPECT_EQ(reason({.ids = {1, 200}}, {3}), "TOKEN_OUT_OF_RANGE");
  EXPECT_EQ(reason({.ids = TokenIds(65, 1)}, {3}), "SEQUENCE_TOO_LONG");
  EXPECT_EQ(reason({.ids = {1, 2}}, {0}), "BAD_EL_N");
  EXPECT_TRUE(MeasureMemorisation(model, {})->empty());
}

}  // namespace
}  // namespace lethe
