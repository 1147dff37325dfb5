// Continuations that share a reading, against one generation for each prefix.
#include <gtest/gtest.h>

#include "engine/attack/teacher_forced.h"
#include "engine/model/generate.h"
#include "engine/seeded_generator.h"
#include "tests/engine/attack/run_attack.h"
#include "tests/engine/random_models.h"

namespace lethe {
namespace {

constexpr size_t kVocab = 12;

// Of lengths from 6 to 40; some are what the model says itself, some of these with a few tokens
// changed, some have a prompt.
std::vector<Sequence> SomeTexts(const Decoder& model, SeededGenerator& random) {
  std::vector<Sequence> texts;
  for (int i = 0; i < 6; ++i) {
    const auto length = static_cast<int64_t>(6 + random.Below(35));
    Sequence text = Greedy(model, {static_cast<int32_t>(random.Below(kVocab))}, length);
    const size_t changes = i % 3 == 0 ? 0 : i % 3 == 1 ? 2 : text.ids.size();
    for (size_t c = 0; c < changes; ++c) {
      text.ids[random.Below(text.ids.size())] = static_cast<int32_t>(random.Below(kVocab));
    }
    if (i % 2 == 1)
      text.prompt_tokens = static_cast<int32_t>(1 + random.Below(text.ids.size() - 1));
    texts.push_back(std::move(text));
  }
  return texts;
}

std::vector<PrefixPlace> SomePlaces(const std::vector<Sequence>& texts, SeededGenerator& random) {
  std::vector<PrefixPlace> places;
  for (int i = 0; i < 20; ++i) {
    const size_t s = random.Below(texts.size());
    const auto length = static_cast<int32_t>(texts[s].ids.size());
    const auto after = static_cast<int32_t>(1 + random.Below(texts[s].ids.size() - 1));
    const auto end = after + 1 + static_cast<int32_t>(random.Below(length - after));
    places.push_back({.sequence = s, .after = after, .end = end});
  }
  return places;
}

TEST(PrefixRollouts, AreWhatGeneratingFromEachPrefixGives) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    SeededGenerator random(seed);
    const Decoder model = RandomModel({.vocab = kVocab, .context = 48}, seed);
    const std::vector<Sequence> texts = SomeTexts(model, random);
    const std::vector<PrefixPlace> places = SomePlaces(texts, random);
    TeacherForced first(model, texts), later(model, texts);
    ASSERT_TRUE(later.Tokens().ok());
    const auto from_the_pass = first.Continue(places), read_again = later.Continue(places);
    ASSERT_TRUE(from_the_pass.ok()) << from_the_pass.status();
    ASSERT_TRUE(read_again.ok()) << read_again.status();
    for (size_t p = 0; p < places.size(); ++p) {
      const PrefixPlace& place = places[p];
      const auto begin = texts[place.sequence].ids.begin();
      const auto said =
          GenerateContinuations(model, std::vector<TokenIds>{{begin, begin + place.after}},
                                {.max_new_tokens = place.end - place.after});
      EXPECT_EQ(from_the_pass->texts[p], (*said)[0][0]);
      EXPECT_EQ(read_again->texts[p], (*said)[0][0]);
    }
    EXPECT_EQ(first.forward_tokens(), later.forward_tokens());
  }
}

// Two prefixes before one mistake share its roll-out: what is behind the mistake's own token, less
// the last, which nobody feeds. Who reads again pays for the text up to the furthest mistake.
TEST(PrefixRollouts, CostWhatIsSaidBehindTheMistakes) {
  const Decoder model = RandomModel({.vocab = kVocab, .context = 48}, 3);
  const Sequence known = Greedy(model, {5}, 30);
  Sequence changed = known;
  changed.ids[20] = (changed.ids[20] + 1) % kVocab;
  const std::vector<Sequence> texts = {known, changed};
  const std::vector<PrefixPlace> places = {{0, 7, 30}, {1, 7, 25}, {1, 12, 30}};
  TeacherForced first(model, texts), later(model, texts), resumed(model, texts);
  EXPECT_EQ(first.Continue(places)->forward_tokens, 30 - 20 - 1);
  ASSERT_TRUE(later.Tokens().ok());
  EXPECT_EQ(later.Continue(places)->forward_tokens, 20 + 30 - 20 - 1);
  resumed.TakeAsRead();
  EXPECT_EQ(resumed.Continue(places)->forward_tokens, 20 + 30 - 20 - 1);
  for (const TeacherForced* forced : {&first, &later, &resumed}) {
    EXPECT_EQ(forced->forward_tokens(), 60);
  }
}

TEST(PrefixRollouts, BesideThemThePassGivesWhatItGivesAlone) {
  SeededGenerator random(9);
  const Decoder model = RandomModel({.vocab = kVocab, .context = 48}, 9);
  const std::vector<Sequence> texts = SomeTexts(model, random);
  const SamplingScheme scheme = {.temperature = 1, .top_k = 4};
  TeacherForced with(model, texts, {scheme}), alone(model, texts, {scheme});
  ASSERT_TRUE(with.Continue(SomePlaces(texts, random)).ok());
  const auto a = with.Tokens(), b = alone.Tokens();
  const auto log_q = with.SchemeLogProbs(scheme), alone_log_q = alone.SchemeLogProbs(scheme);
  for (size_t s = 0; s < texts.size(); ++s) {
    EXPECT_EQ((*a)[s].score.choice, (*b)[s].score.choice);
    for (size_t t = 0; t < (*a)[s].mean.size(); ++t) {
      EXPECT_NEAR((*a)[s].score.nll[t], (*b)[s].score.nll[t], 1e-5);
      EXPECT_NEAR((*a)[s].mean[t], (*b)[s].mean[t], 1e-5);
      if (std::isfinite((*alone_log_q)[s][t])) {
        EXPECT_NEAR((*log_q)[s][t], (*alone_log_q)[s][t], 1e-5);
      }
    }
  }
}

TEST(PrefixRollouts, NothingAskedIsNothingSaid) {
  const Decoder model = RandomModel({.vocab = kVocab, .context = 48}, 4);
  TeacherForced forced(model, {});
  const auto said = forced.Continue({});
  ASSERT_TRUE(said.ok()) << said.status();
  EXPECT_TRUE(said->texts.empty());
  EXPECT_EQ(said->forward_tokens + forced.forward_tokens(), 0);
}

}  // namespace
}  // namespace lethe
