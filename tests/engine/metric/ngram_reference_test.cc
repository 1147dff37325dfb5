// The trigram reference against counts made by hand.
#include "engine/metric/ngram_reference.h"

#include <gtest/gtest.h>

#include <cmath>

namespace lethe {
namespace {

const std::vector<Sequence> kText = {{.ids = {0, 1, 0, 1, 2}}};

double P(const std::vector<int32_t>& before, int32_t token) {
  return NgramReference(kText, 4).Probability(before, token);
}

// Five tokens, three of them different: 0 and 1 twice, 2 once; four in the vocabulary.
TEST(NgramReference, ByHand) {
  EXPECT_DOUBLE_EQ(P({}, 0), (2 + 3 * 0.25) / 8);  // .34375
  EXPECT_DOUBLE_EQ(P({}, 2), (1 + 3 * 0.25) / 8);  // .21875
  EXPECT_DOUBLE_EQ(P({}, 3), 3 * 0.25 / 8);        // never seen: .09375
  // After 0 came 1, twice; after 1 came 0 and 2.
  EXPECT_DOUBLE_EQ(P({0}, 1), (2 + 1 * 0.34375) / 3);
  EXPECT_DOUBLE_EQ(P({0}, 2), 1 * 0.21875 / 3);
  EXPECT_DOUBLE_EQ(P({1}, 2), (1 + 2 * 0.21875) / 4);  // .359375
  // After 0 1 came 0 and 2; after 1 0 came 1.
  EXPECT_DOUBLE_EQ(P({0, 1}, 2), (1 + 2 * 0.359375) / 4);
  EXPECT_DOUBLE_EQ(P({3, 3, 0, 1}, 2), P({0, 1}, 2));  // what is further back does not count
  // Histories that were never seen leave it to the shorter ones.
  EXPECT_DOUBLE_EQ(P({3, 1}, 2), P({1}, 2));
  EXPECT_DOUBLE_EQ(P({3, 3}, 2), P({}, 2));
}

TEST(NgramReference, ProbabilitiesSumToOne) {
  for (const std::vector<int32_t>& before :
       {std::vector<int32_t>{}, {0}, {1}, {2}, {3}, {0, 1}, {1, 0}, {1, 2}, {3, 0}}) {
    double sum = 0;
    for (int32_t token = 0; token < 4; ++token) sum += P(before, token);
    EXPECT_NEAR(sum, 1, 1e-12);
  }
}

TEST(NgramReference, CountsWhatIsScored) {
  const NgramReference reference(kText, 4);
  const Sequence whole{.ids = {0, 1, 2, 3}};
  EXPECT_EQ(reference.TokenNll(whole).size(), 3U);
  EXPECT_DOUBLE_EQ(reference.TokenNll(whole)[1], -std::log(P({0, 1}, 2)));
  const Sequence prompted{.ids = {0, 1, 2, 3}, .prompt_tokens = 2, .sensitive = {{3, 4}}};
  const std::vector<double> nll = reference.TokenNll(prompted);
  ASSERT_EQ(nll.size(), 2U);
  EXPECT_DOUBLE_EQ(nll[0], -std::log(P({0, 1}, 2)));
  EXPECT_DOUBLE_EQ(reference.MeanNll(prompted, false), (nll[0] + nll[1]) / 2);
  EXPECT_DOUBLE_EQ(reference.MeanNll(prompted, true), nll[1]);
  EXPECT_DOUBLE_EQ(reference.MeanNll(whole, true), reference.MeanNll(whole, false));
}

// Text of the kind is likelier than other text, without any model having seen it.
TEST(NgramReference, NoTextGivesTheUniformModel) {
  const NgramReference reference({}, 8);
  EXPECT_DOUBLE_EQ(reference.MeanNll({.ids = {0, 5, 1, 7}}, false), std::log(8));
}

}  // namespace
}  // namespace lethe
