// Extraction strength, S-MA and S-EL against their definitions: one greedy continuation a prefix, in
// float64.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/engine/attack/run_attack.h"
#include "tests/engine/random_models.h"
#include "tests/engine/slow_memorisation.h"

namespace lethe {
namespace {

// Sequences that the model partly knows: its own text with some tokens changed.
std::vector<Sequence> HalfKnown(const Decoder& model, int count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<Sequence> sequences;
  for (int i = 0; i < count; ++i) {
    Sequence s = Greedy(model, RandomIds(random, 3, 20), 12 + static_cast<int64_t>(random() % 20));
    const auto length = static_cast<int32_t>(s.ids.size());
    for (int change = static_cast<int>(random() % 4); change > 0; --change) {
      s.ids[3 + random() % (length - 3)] = static_cast<int32_t>(random() % 20);
    }
    s.prompt_tokens = i % 2 ? static_cast<int32_t>(random() % 4) : 0;
    const auto begin = s.prompt_tokens + static_cast<int32_t>(random() % (length - 7));
    const int32_t end = std::min(length, begin + 2 + static_cast<int32_t>(random() % 5));
    s.sensitive = {{begin, std::max(end, 2)}};
    if (end + 3 < length) s.sensitive.push_back({length - 2, length});
    sequences.push_back(std::move(s));
  }
  return sequences;
}

struct Defined {
  double strength = 0, span_strength = 0, accuracy = 0, likelihood = 0;
};

Defined ByDefinition(const Decoder& model, const Sequence& s, int32_t n) {
  const SlowMemorisation slow = MeasureSlowly(model, s, {});
  const auto T = static_cast<int32_t>(s.ids.size());
  const auto right = [&](int32_t t) { return slow.greedy_next[t - 1] == s.ids[t]; };
  std::vector<int32_t> all, in_span;
  for (int32_t t = std::max(1, s.prompt_tokens); t < T; ++t) {
    all.push_back(t);
    for (const Span& span : s.sensitive) {
      if (t >= span.begin && t < span.end) in_span.push_back(t);
    }
  }
  Defined d;
  const auto strength = [&](const std::vector<int32_t>& places) {
    int known = 0;
    for (auto t = places.rbegin(); t != places.rend() && right(*t); ++t) ++known;
    return known / static_cast<double>(places.size());
  };
  d.strength = strength(all);
  d.span_strength = strength(in_span);
  for (const int32_t t : in_span) d.accuracy += right(t) / static_cast<double>(in_span.size());
  const auto is_sensitive = [&](int32_t t) {
    return std::find(in_span.begin(), in_span.end(), t) != in_span.end();
  };
  n = std::min(n, T - in_span.front());
  const int32_t end = std::min(T, in_span.back() + n);
  int prefixes = 0;
  for (const int32_t t : in_span) {
    const auto said = Grams({slow.said[t - 1].begin() + t, slow.said[t - 1].begin() + end}, n);
    int touching = 0, found = 0;
    for (int32_t g = t; g + n <= end; ++g) {
      bool touches = false;
      for (int32_t k = g; k < g + n; ++k) touches = touches || is_sensitive(k);
      if (!touches) continue;
      ++touching;
      found += said.count({s.ids.begin() + g, s.ids.begin() + g + n}) > 0;
    }
    if (touching == 0) continue;
    ++prefixes;
    d.likelihood += found / static_cast<double>(touching);
  }
  if (prefixes > 0) d.likelihood /= prefixes;
  return d;
}

TEST(SpanMemorisation, EqualsTheDefinition) {
  const Decoder model = RandomModel({.vocab = 20, .context = 48}, 12);
  const std::vector<Sequence> sequences = HalfKnown(model, 60, 3);
  for (const int32_t n : {1, 3, 5}) {
    const auto strength = RunAttack("extraction_strength", model, sequences);
    const auto on_spans = RunAttack("extraction_strength", model, sequences, {.on_spans = true});
    const auto accuracy = RunAttack("span_accuracy", model, sequences, {.on_spans = true});
    const auto likelihood =
        RunAttack("span_extraction_likelihood", model, sequences,
                  {.overrides = {{"n", static_cast<double>(n)}}, .on_spans = true});
    ASSERT_TRUE(likelihood.ok()) << likelihood.status();
    double sum = 0;
    for (size_t i = 0; i < sequences.size(); ++i) {
      const Defined want = ByDefinition(model, sequences[i], n);
      EXPECT_DOUBLE_EQ(strength->scores[i], want.strength) << i;
      EXPECT_DOUBLE_EQ(on_spans->scores[i], want.span_strength) << i;
      EXPECT_NEAR(accuracy->scores[i], want.accuracy, 1e-12) << i;
      EXPECT_NEAR(likelihood->scores[i], want.likelihood, 1e-12) << i << " " << n;
      sum += want.likelihood;
    }
    EXPECT_GT(sum, 5);  // some are known
    EXPECT_LT(sum, 55);
  }
}

TEST(SpanMemorisation, NeedsSpans) {
  const Decoder model = RandomModel({.vocab = 20, .context = 48}, 12);
  const std::vector<Sequence> plain = {{.ids = {1, 2, 3}}};
  EXPECT_NE(RunAttack("span_accuracy", model, plain)->not_applicable, "");
  EXPECT_NE(RunAttack("span_extraction_likelihood", model, plain)->not_applicable, "");
}

// The last token wrong: nothing follows greedily, whatever stood before it.
TEST(ExtractionStrength, IsZeroWhenNothingMatches) {
  const Decoder model = RandomModel({.vocab = 20, .context = 48}, 12);
  Sequence s = Greedy(model, {3}, 20);
  EXPECT_EQ(RunAttack("extraction_strength", model, {s})->scores[0], 1);
  s.ids.back() = (s.ids.back() + 1) % 20;
  EXPECT_EQ(RunAttack("extraction_strength", model, {s})->scores[0], 0);
}

}  // namespace
}  // namespace lethe
