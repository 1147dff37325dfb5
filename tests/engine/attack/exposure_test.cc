// Exposure against ranks by whole passes over small spaces, and its parts.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/attack/continuation_nll.h"
#include "engine/attack/same_format.h"
#include "tests/engine/attack/made_tokenizer.h"
#include "tests/engine/attack/run_attack.h"
#include "tests/engine/random_models.h"

namespace lethe {
namespace {

Decoder Model(uint64_t seed = 4) {
  return RandomModel({.vocab = kMadeVocabulary, .context = 96}, seed);
}

// Whole passes of prefix and continuation.
std::vector<double> WholePasses(const Decoder& model, const TokenIds& prefix,
                                const std::vector<TokenIds>& continuations) {
  std::vector<Sequence> sequences;
  for (const TokenIds& c : continuations) {
    Sequence s{.ids = prefix, .prompt_tokens = static_cast<int32_t>(prefix.size())};
    s.ids.insert(s.ids.end(), c.begin(), c.end());
    sequences.push_back(std::move(s));
  }
  std::vector<double> nll;
  const auto scores = ScoreSequences(model, sequences);
  for (const SequenceScore& s : *scores) nll.push_back(s.total_nll);
  return nll;
}

// fp32 over a cache and in whole passes: logits of some 20 have a step of 2e-6, and four tokens add
// the errors of many.
TEST(ContinuationNll, EqualsWholePasses) {
  const Decoder model = RandomModel({.vocab = 9, .context = 32}, 6);
  std::mt19937_64 random(7);
  for (const int64_t length : {1, 2, 4}) {
    const TokenIds prefix = RandomIds(random, 6, 9);
    std::vector<TokenIds> continuations;
    for (int i = 0; i < 60; ++i) continuations.push_back(RandomIds(random, length, 3));
    const std::vector<double> want = WholePasses(model, prefix, continuations);
    for (const int64_t cache_bytes : {int64_t{1}, int64_t{20000}, int64_t{1} << 28}) {
      int64_t tokens = 0;
      const auto got = ContinuationNll(model, prefix, continuations, &tokens, cache_bytes);
      ASSERT_TRUE(got.ok()) << got.status();
      for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR((*got)[i], want[i], 1e-4);
    }
  }
}

// All 27 texts of three tokens: 3 + 9 beginnings are read, beside the prefix.
TEST(ContinuationNll, ReadsWhatTheyShareOnce) {
  const Decoder model = RandomModel({.vocab = 9, .context = 32}, 6);
  std::vector<TokenIds> all;
  for (int32_t i = 0; i < 27; ++i) all.push_back({i % 3, i / 3 % 3, i / 9});
  int64_t tokens = 0;
  ASSERT_TRUE(ContinuationNll(model, {1, 2, 3, 4}, all, &tokens).ok());
  EXPECT_EQ(tokens, 4 + 3 + 9);
}

TEST(SameFormat, ShapesByHand) {
  EXPECT_EQ(ShapeOf("Xk-92"), "Aa-00");
  EXPECT_EQ(ShapeOf("\u0120Jane"), "\u0120Aaaa");
}

TEST(SameFormat, AlternativesLookLikeTheSecret) {
  const Tokenizer& tokenizer = MadeTokenizer();
  const TokenShapes shapes(tokenizer, kMadeVocabulary);
  const TokenIds secret = tokenizer.Encode("4821-x", false).value();
  const auto found = shapes.Alternatives(secret, 500, 3);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->others.size(), 500U);
  EXPECT_FALSE(found->whole);
  std::set<TokenIds> apart;
  for (const TokenIds& other : found->others) {
    const std::string text = tokenizer.Decode(other).value();
    EXPECT_EQ(ShapeOf(text), "0000-a");
    EXPECT_EQ(other.size(), secret.size());
    EXPECT_EQ(tokenizer.Encode(text, false).value(), other);  // as a model would have seen it
    EXPECT_NE(other, secret);
    EXPECT_TRUE(apart.insert(other).second);
  }
  // No more than there are texts of the shape.
  EXPECT_LE(found->bits, std::log2(260000.0) + 0.1);
  EXPECT_GT(found->bits, 10);
  EXPECT_EQ(shapes.Alternatives(secret, 500, 3)->others, found->others);
  EXPECT_NE(shapes.Alternatives(secret, 500, 4)->others, found->others);
  // A text without letters and digits stays itself: no format.
  EXPECT_FALSE(shapes.Alternatives(tokenizer.Encode("-,.", false).value(), 500, 3).has_value());
  // Beyond the tokenizer.
  EXPECT_FALSE(shapes.Alternatives(TokenIds{kMadeVocabulary - 1}, 500, 3).has_value());
}

// A small space is ranked whole: log2 of it, less log2 of the rank.
TEST(Exposure, IsTheRankInASmallSpace) {
  const Tokenizer& tokenizer = MadeTokenizer();
  const Decoder model = Model();
  const Sequence s = WithSpan("her code is #7!", "7");
  ASSERT_EQ(s.sensitive[0].end - s.sensitive[0].begin, 1);
  const auto got =
      RunAttack("exposure", model, {s}, {.on_spans = true, .context = {.tokenizer = &tokenizer}});
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_EQ(got->not_applicable, "");
  const int32_t begin = s.sensitive[0].begin;
  std::vector<TokenIds> digits;
  for (char c = '0'; c <= '9'; ++c) digits.push_back({*tokenizer.TokenToId(std::string(1, c))});
  const std::vector<double> nll =
      WholePasses(model, TokenIds(s.ids.begin(), s.ids.begin() + begin), digits);
  const auto rank = 1 + std::count_if(nll.begin(), nll.end(), [&](double x) { return x < nll[7]; });
  EXPECT_EQ(got->details.at("rank")[0], rank);
  EXPECT_EQ(got->details.at("alternatives")[0], 9);
  EXPECT_NEAR(got->scores[0], std::log2(10.0 / static_cast<double>(rank)), 1e-12);
}

// Where only a sample is ranked, the fitted share agrees with the rank in the sample: for a secret
// in the middle of its space, within a third of a bit.
TEST(Exposure, TheFitAgreesWithTheRankOfALargeSample) {
  const Tokenizer& tokenizer = MadeTokenizer();
  for (const uint64_t seed : {1, 2, 3, 4}) {
    const Decoder model = Model(seed);
    std::vector<Sequence> sequences;
    for (const char* code : {"4821", "9056", "1234"}) {
      sequences.push_back(WithSpan(std::string("her code is ") + code + ".", code));
    }
    const auto got = RunAttack("exposure", model, sequences,
                               {.overrides = {{"alternatives", 2000}},
                                .on_spans = true,
                                .context = {.tokenizer = &tokenizer}});
    ASSERT_TRUE(got.ok()) << got.status();
    for (size_t i = 0; i < 3; ++i) {
      const double rank = got->details.at("rank")[i], drawn = got->details.at("alternatives")[i];
      if (rank < 40) continue;  // the tail of a sample says little
      EXPECT_NEAR(got->scores[i], std::log2((drawn + 1) / rank), 0.34) << seed << " " << i;
    }
  }
}

TEST(Exposure, SaysWhyItCannotBeTried) {
  const Decoder model = Model();
  const Sequence code = WithSpan("her code is 4821.", "4821");
  const Sequence plain = WithSpan("her code is -,-.", "-,-");
  const AttackContext context{.tokenizer = &MadeTokenizer()};
  const auto why = [&](const Sequence& s, bool on_spans, const AttackContext& c) {
    return RunAttack("exposure", model, {s}, {.on_spans = on_spans, .context = c})->not_applicable;
  };
  EXPECT_EQ(why(code, true, context), "");
  EXPECT_NE(why(code, false, context), "");
  EXPECT_NE(why(code, true, {}), "");
  EXPECT_NE(why(plain, true, context), "");
}

}  // namespace
}  // namespace lethe
