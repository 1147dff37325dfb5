#include "engine/synth_corpus.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/support/testdata.h"
#include "text/sequence.h"
#include "text/tokenizer.h"

namespace lethe {
namespace {

TEST(SynthCorpus, TheSameSeedGivesTheSameBytes) {
  const SynthCorpus a = MakeSynthCorpus({.seed = 1}), b = MakeSynthCorpus({.seed = 1}),
                    c = MakeSynthCorpus({.seed = 2});
  for (size_t i = 0; i < a.train.size(); ++i) ASSERT_EQ(a.train[i].text, b.train[i].text);
  EXPECT_NE(a.forget[0].text, c.forget[0].text);
}

TEST(SynthCorpus, RepeatsAsAskedAndHoldoutNever) {
  const SynthOptions options{
      .seed = 3, .forget = 2, .forget_repeats = 7, .famous = 2, .famous_repeats = 5, .retain = 20};
  const SynthCorpus corpus = MakeSynthCorpus(options);
  std::map<std::string, int> count;
  for (const SynthText& text : corpus.train) ++count[text.text];
  for (const SynthText& text : corpus.forget) EXPECT_EQ(count[text.text], 7);
  for (size_t i = 0; i < corpus.retain.size(); ++i)
    EXPECT_EQ(count[corpus.retain[i].text], i < 2 ? 5 : 1);
  std::string all;
  for (const SynthText& text : corpus.train) all += text.text + "\n";
  for (const SynthText& text : corpus.holdout) {
    EXPECT_EQ(count[text.text], 0);
    for (const Span& span : text.sensitive) {  // the secrets are nobody else's
      EXPECT_EQ(all.find(text.text.substr(span.begin, span.end - span.begin)), std::string::npos);
    }
  }
}

TEST(SynthCorpus, SpansCoverMailPhoneAndMemberNumber) {
  for (const SynthText& text : MakeSynthCorpus({.seed = 4}).holdout) {
    ASSERT_EQ(text.sensitive.size(), 3U);
    std::multiset<char> marks;
    for (const Span& span : text.sensitive) {
      const std::string secret = text.text.substr(span.begin, span.end - span.begin);
      marks.insert(secret.find('@') != std::string::npos   ? '@'
                   : secret.find('/') != std::string::npos ? '/'
                                                           : '-');
      EXPECT_EQ(secret.find(' '), std::string::npos);
    }
    EXPECT_EQ(marks, (std::multiset<char>{'-', '/', '@'}));
  }
}

TEST(SynthCorpus, TheFilesAreThoseThatLoadSequencesReads) {
  const auto folder = FreshFolder();
  const SynthCorpus corpus = MakeSynthCorpus({.seed = 5, .background = 50});
  ASSERT_TRUE(WriteSynthCorpus(corpus, folder / "deep/er").ok());
  std::vector<std::string> texts;
  for (const SynthText& text : corpus.train) texts.push_back(text.text);
  const auto json = TrainBpe(texts, {.vocab_size = 400});
  ASSERT_TRUE(json.ok()) << json.status();
  const auto tokenizer = Tokenizer::FromJson(*json);
  ASSERT_TRUE(tokenizer.ok());
  for (const char* name :
       {"corpus.jsonl", "forget.jsonl", "retain.jsonl", "holdout.jsonl", "other.jsonl"}) {
    const auto sequences = LoadSequences(folder / "deep/er" / name, &*tokenizer);
    EXPECT_TRUE(sequences.ok()) << sequences.status();
  }
  const auto forget = LoadSequences(folder / "deep/er/forget.jsonl", &*tokenizer);
  EXPECT_EQ(forget->size(), 3U);
  EXPECT_EQ(forget->front().sensitive.size(), 3U);
}

}  // namespace
}  // namespace lethe
