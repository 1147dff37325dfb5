// MA and EL_n against their definition, one greedy generation a prefix, over hundreds of random
// models and sequences.
#include "engine/metric/memorisation.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "engine/metric/ngram_overlap.h"
#include "engine/model/generate.h"
#include "tests/engine/random_families.h"
#include "tests/engine/random_models.h"
#include "tests/engine/slow_memorisation.h"
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

TEST(Memorisation, EqualsTheDefinitionInHundredsOfRandomCases) {
  const uint64_t seed = TestSeed(20);
  std::mt19937_64 random(seed);
  int cases = 0, ties = 0;
  int64_t rollouts = 0, prefixes = 0;
  std::set<double> values;
  for (int round = 0; round < 66; ++round) {
    const auto vocab = static_cast<int64_t>(4 + random() % 12);
    const std::vector<FamilyCase> families =
        FamilyCases(vocab, {{"tie_word_embeddings", random() % 2 == 0}});
    const FamilyCase& family = families[round % families.size()];
    SCOPED_TRACE(family.name);
    const Decoder model = RandomDecoder(family.config, random());
    std::vector<Sequence> sequences;
    for (int i = 0; i < 6; ++i) {
      const int64_t tokens = 2 + random() % 14;
      sequences.push_back({.ids = random() % 3 ? HalfKnown(model, random, tokens, vocab)
                                               : RandomIds(random, tokens, vocab)});
      if (random() % 4 == 0)
        sequences.back().prompt_tokens = static_cast<int32_t>(random() % tokens);
    }
    const std::vector<int64_t> el_n =
        random() % 2 ? std::vector<int64_t>{1, 2, 3} : std::vector<int64_t>{4, 2};
    const auto fast = MeasureMemorisation(
        model, sequences, {.el_n = el_n, .cache_bytes = random() % 2 ? 1 : 1 << 20});
    ASSERT_TRUE(fast.ok()) << fast.status() << ", seed " << seed;
    for (size_t i = 0; i < sequences.size(); ++i) {
      const SlowMemorisation slow = MeasureSlowly(model, sequences[i], el_n);
      if (slow.smallest_margin < 1e-4) {  // the two best logits are equal but for rounding
        ++ties;
        continue;
      }
      ++cases;
      ASSERT_NEAR((*fast)[i].ma, slow.ma, 1e-12) << "seed " << seed << " round " << round;
      ASSERT_EQ((*fast)[i].el.size(), slow.el.size());
      for (const auto& [n, value] : slow.el) {
        ASSERT_NEAR((*fast)[i].el.at(n), value, 1e-9)
            << "EL_" << n << " seed " << seed << " round " << round;
        values.insert(value);
      }
      EXPECT_EQ((*fast)[i].greedy_next, slow.greedy_next);
      rollouts += (*fast)[i].rollouts;
      prefixes += static_cast<int64_t>(sequences[i].ids.size()) - 1;
    }
  }
  EXPECT_GT(cases, 300);
  EXPECT_LT(ties, 20);
  EXPECT_GT(values.size(), 60u);           // not all 0 or 1
  EXPECT_LT(rollouts, prefixes * 9 / 10);  // fewer than one a prefix
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
