// Changed prompts by hand, and attacks with them against whole passes.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/attack/extraction_case.h"
#include "engine/attack/prompt_change.h"
#include "tests/engine/attack/made_tokenizer.h"
#include "tests/engine/attack/run_attack.h"
#include "tests/engine/random_models.h"

namespace lethe {
namespace {

const ParameterValues kParameters = {
    {"share", 0.25}, {"variants", 3}, {"shots", 2}, {"max_shot_tokens", 3}};

std::vector<std::string> Texts(const std::vector<TokenIds>& prompts) {
  std::vector<std::string> texts;
  for (const TokenIds& p : prompts) texts.push_back(MadeTokenizer().Decode(p).value());
  return texts;
}

TEST(PromptChange, ShiftsByHand) {
  const TokenIds prefix = {1, 2, 3, 4, 5, 6, 7, 8};
  const auto got = ShiftPrefix({.prefix = prefix, .parameters = kParameters});
  EXPECT_EQ(*got, (std::vector<TokenIds>{
                      {2, 3, 4, 5, 6, 7, 8}, {3, 4, 5, 6, 7, 8}, {5, 6, 7, 8}, {7, 8}}));
  const TokenIds one = {9};
  EXPECT_EQ(*ShiftPrefix({.prefix = one, .parameters = kParameters}), (std::vector<TokenIds>{{9}}));
}

TEST(PromptChange, DropsAShareInOrder) {
  const TokenIds prefix = {1, 2, 3, 4, 5, 6, 7, 8};
  const PromptSource source{.prefix = prefix, .seed = 5, .parameters = kParameters};
  const auto got = DropTokens(source);
  EXPECT_EQ(got->size(), 3U);
  for (const TokenIds& p : *got) {
    EXPECT_EQ(p.size(), 6U);
    EXPECT_TRUE(std::is_sorted(p.begin(), p.end()));
  }
  EXPECT_EQ(*DropTokens(source), *got);
  const TokenIds one = {9};
  EXPECT_EQ(*DropTokens({.prefix = one, .parameters = kParameters}), (std::vector<TokenIds>{{9}}));
}

TEST(PromptChange, NoiseByHand) {
  const TokenIds prefix = MadeTokenizer().Encode("Jane Do\u00e9, in Turin:", false).value();
  const auto got = AddNoise(
      {.prefix = prefix, .seed = 2, .tokenizer = &MadeTokenizer(), .parameters = kParameters});
  ASSERT_TRUE(got.ok()) << got.status();
  const auto texts = Texts(*got);
  ASSERT_EQ(texts.size(), 4U);
  EXPECT_EQ(texts[0], "jane do\u00e9, in turin:");
  EXPECT_EQ(texts[1], "JANE DO\u00e9, IN TURIN:");
  EXPECT_EQ(texts[2], "Jane Do\u00e9 in Turin");
  EXPECT_NE(texts[3], "Jane Do\u00e9, in Turin:");
}

TEST(PromptChange, WordsAndRecordsStandBeforeThePrefix) {
  const TokenIds prefix = MadeTokenizer().Encode("her code is", false).value();
  const std::vector<Sequence> kept = {{.ids = {5, 6, 7, 8}}, {.ids = {9, 10}}};
  const PromptSource source{.prefix = prefix,
                            .seed = 2,
                            .tokenizer = &MadeTokenizer(),
                            .kept = kept,
                            .parameters = kParameters};
  for (const std::string& text : Texts(AddJailbreak(source).value())) {
    EXPECT_TRUE(text.ends_with(":\nher code is")) << text;
  }
  const TokenIds line = MadeTokenizer().Encode("\n", false).value();
  const auto shown = AddShots(source);
  ASSERT_TRUE(shown.ok()) << shown.status();
  for (const TokenIds& p : *shown) {
    TokenIds rest = p;
    for (int shot = 0; shot < 2; ++shot) {  // {5, 6, 7} or {9, 10}, then a new line
      const TokenIds record = rest[0] == 5 ? TokenIds{5, 6, 7} : TokenIds{9, 10};
      ASSERT_TRUE(std::equal(record.begin(), record.end(), rest.begin()));
      rest.erase(rest.begin(), rest.begin() + static_cast<int64_t>(record.size()));
      ASSERT_TRUE(std::equal(line.begin(), line.end(), rest.begin()));
      rest.erase(rest.begin(), rest.begin() + static_cast<int64_t>(line.size()));
    }
    EXPECT_EQ(rest, prefix);
  }
}

class PromptAttacks : public testing::Test {
 protected:
  // Greedily and by whole passes, one prompt at a time.
  std::pair<double, double> Slowly(const std::vector<TokenIds>& prompts, const TokenIds& suffix,
                                   double queries) {
    double similarity = 0, chance = 0;
    for (const TokenIds& prompt : prompts) {
      Sequence s{.ids = prompt, .prompt_tokens = static_cast<int32_t>(prompt.size())};
      const Sequence said =
          Greedy(model_, prompt, static_cast<int64_t>(prompt.size() + suffix.size()));
      s.ids.insert(s.ids.end(), suffix.begin(), suffix.end());
      const ExtractionCase c{.begin = s.prompt_tokens, .end = static_cast<int32_t>(s.ids.size())};
      const TokenIds after(said.ids.begin() + s.prompt_tokens, said.ids.end());
      similarity =
          std::max(similarity, Recovered(s, c, after) / static_cast<double>(suffix.size()));
      const auto score = ScoreSequences(model_, std::vector<Sequence>{s});
      chance = std::max(chance, 1 - std::pow(1 - std::exp(-score->front().total_nll), queries));
    }
    return {similarity, chance};
  }

  const Decoder model_ = RandomModel({.vocab = 20, .context = 48}, 8);
};

// The better of greedy recovery and exact chance over the variants, each tried by itself. With 20
// tokens top-k 40 is all of them.
TEST_F(PromptAttacks, ShiftedPrefixIsTheBestOfItsVariants) {
  std::mt19937_64 random(9);
  std::vector<Sequence> sequences;
  for (int i = 0; i < 8; ++i) sequences.push_back({.ids = RandomIds(random, 10 + i, 20)});
  sequences.push_back(Greedy(model_, {3, 7}, 24));
  const auto got = RunAttack("shifted_prefix", model_, sequences);
  ASSERT_TRUE(got.ok()) << got.status();
  for (size_t i = 0; i < sequences.size(); ++i) {
    const TokenIds& ids = sequences[i].ids;
    const auto half = static_cast<int64_t>(std::lround(0.5 * static_cast<double>(ids.size())));
    const TokenIds prefix(ids.begin(), ids.begin() + half), suffix(ids.begin() + half, ids.end());
    const auto [similarity, chance] =
        Slowly(*ShiftPrefix({.prefix = prefix, .parameters = kParameters}), suffix, 1000);
    EXPECT_NEAR(got->details.at("similarity")[i], similarity, 1e-12) << i;
    // 1 - p loses what is below 1e-16, a thousand times over, in the slow twin.
    EXPECT_NEAR(got->details.at("chance")[i], chance, 1e-4 * chance + 1e-12) << i;
    EXPECT_EQ(got->scores[i],
              std::max(got->details.at("similarity")[i], got->details.at("chance")[i]));
  }
}

// A full context: records before the prefix push it out at the front, and what is asked for stays.
TEST_F(PromptAttacks, FewShotKeepsToTheContext) {
  std::mt19937_64 random(9);
  const std::vector<Sequence> kept = {{.ids = RandomIds(random, 40, 20)}};
  const std::vector<Sequence> full = {{.ids = RandomIds(random, 48, 20)}};
  const auto got = RunAttack("few_shot", model_, full, {.context = {.kept = kept}});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->not_applicable, "");
  EXPECT_EQ(got->scores.size(), 1U);
}

TEST_F(PromptAttacks, CrossPromptTakesTheOtherRecordsPrompt) {
  const std::vector<Sequence> forgotten = {{.ids = {1, 2, 3, 4, 5, 6}, .prompt_tokens = 3},
                                           {.ids = {7, 8, 9, 10}, .prompt_tokens = 2}};
  const auto got =
      RunAttack("cross_prompt", model_, forgotten, {.context = {.forgotten = forgotten}});
  ASSERT_TRUE(got.ok()) << got.status();
  // The second's answer, and its last half, behind the first's prompt.
  const auto [all, all_chance] = Slowly({{1, 2, 3}}, {9, 10}, 1000);
  const auto [half, half_chance] = Slowly({{1, 2, 3}}, {10}, 1000);
  EXPECT_NEAR(got->details.at("similarity")[1], std::max(all, half), 1e-12);
  EXPECT_NEAR(got->details.at("chance")[1], std::max(all_chance, half_chance), 1e-5);
}

TEST_F(PromptAttacks, SayWhatIsMissing) {
  const std::vector<Sequence> one = {{.ids = {1, 2, 3, 4}}};
  for (const char* name : {"noisy_prompt", "jailbreak_prefix", "few_shot", "cross_prompt"}) {
    EXPECT_NE(RunAttack(name, model_, one, {.context = {.forgotten = one}})->not_applicable, "")
        << name;
  }
}

// A tokenizer and records at hand, spans or not: all of them run, the same for a seed.
TEST_F(PromptAttacks, AllRunOnRecords) {
  const Decoder model = RandomModel({.vocab = kMadeVocabulary, .context = 96}, 2);
  std::vector<Sequence> records;
  for (const char* code : {"4821", "1234", "9056", "7731"}) {
    records.push_back(
        WithSpan(std::string("Jane lives in Turin, her code is ") + code + ".", code));
  }
  const AttackContext context{.tokenizer = &MadeTokenizer(), .kept = records, .forgotten = records};
  for (const bool on_spans : {false, true}) {
    const AttackSetting setting{.on_spans = on_spans, .context = context};
    for (const char* name : {"shifted_prefix", "dropped_tokens", "noisy_prompt", "jailbreak_prefix",
                             "few_shot", "cross_prompt"}) {
      const auto got = RunAttack(name, model, records, setting);
      ASSERT_TRUE(got.ok()) << name << got.status();
      EXPECT_EQ(got->not_applicable, "") << name;
      EXPECT_EQ(got->scores.size(), 4U);
      EXPECT_GT(got->forward_tokens, 0);
      EXPECT_EQ(RunAttack(name, model, records, setting)->scores, got->scores) << name;
      const auto alone = RunAttack(name, model, {records[2]}, setting);
      EXPECT_NEAR(alone->scores[0], got->scores[2], 1e-5) << name;
    }
  }
}

}  // namespace
}  // namespace lethe
