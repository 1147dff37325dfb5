// Build, append, erase and find, held against plain memory.
#include "corpus/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/status.h"
#include "corpus/near.h"
#include "tests/corpus/made_corpus.h"
#include "tests/support/seeded_random.h"
#include "tests/support/temp_folder.h"

namespace lethe {
namespace {

using testing::HasSubstr;

std::vector<uint64_t> Values(const std::vector<SequenceId>& ids) {
  std::vector<uint64_t> values;
  for (const SequenceId id : ids) values.push_back(id.value);
  return values;
}

void ExpectFinds(const Corpus& corpus, const Expected& expected) {
  std::map<std::string, std::vector<uint64_t>> subjects, documents;
  for (const auto& e : expected.entries) {
    subjects[e.line.subject].push_back(e.id);
    if (e.line.document.has_value()) documents[*e.line.document].push_back(e.id);
    const auto found = corpus.Get({e.id});
    ASSERT_TRUE(found.ok() && found->has_value()) << found.status();
    EXPECT_EQ((*found)->place, e.place);
    EXPECT_EQ((*found)->stored.sequence, e.line.sequence);
  }
  for (const auto& [subject, ids] : subjects) EXPECT_EQ(Values(*corpus.FindSubject(subject)), ids);
  for (const auto& [name, ids] : documents) EXPECT_EQ(Values(*corpus.FindDocument(name)), ids);
}

// Random builds, appends and erasures by subject, document and id.
TEST(CorpusProperty, IsWhatPlainMemoryIs) {
  const uint64_t seed = TestSeed(std::random_device{}());
  SCOPED_TRACE("LETHE_TEST_SEED=" + std::to_string(seed));
  LineMaker maker(seed, 1000, 25);
  for (int round = 0; round < 8; ++round) {
    TempFolder folder;
    const auto corpus_folder = folder / "corpus";
    const int vocab_size = round % 2 == 0 ? 1000 : 100000;
    const CorpusOptions options{.shards = 1 + static_cast<uint32_t>(maker.Below(5)),
                                .slices = 1 + static_cast<uint32_t>(maker.Below(5))};
    const auto first = maker.Take(maker.Below(200));
    const auto built = BuildCorpus(corpus_folder, TestKey(), options,
                                   InputOf(WriteLines(folder / "in", first), vocab_size));
    ASSERT_TRUE(built.ok()) << built.status();
    EXPECT_EQ(built->sequences, first.size());
    Expected expected;
    expected.Build(first, options.shards, options.slices);
    for (int step = 0; step < 12; ++step) {
      ErasureTargets targets;
      if (const int kind = maker.Below(4); kind == 0) {
        const auto late = maker.Take(maker.Below(30));
        const auto added = AppendToCorpus(corpus_folder, TestKey(),
                                          InputOf(WriteLines(folder / "in", late), vocab_size));
        ASSERT_TRUE(added.ok()) << added.status();
        expected.Add(late);
      } else if (kind == 1) {
        targets.subjects = {"person-" + std::to_string(maker.Below(30))};
        expected.Erase([&](const auto& e) { return e.line.subject == targets.subjects[0]; });
      } else if (kind == 2) {
        targets.documents = {"document-" + std::to_string(maker.Below(100)), "none"};
        expected.Erase([&](const auto& e) { return e.line.document == targets.documents[0]; });
      } else {
        for (int i = 0; i < 5 && expected.next_id > 0; ++i) {
          const auto id = static_cast<uint64_t>(maker.Below(static_cast<int>(expected.next_id)));
          targets.sequences.push_back({id});
          expected.Erase([&](const auto& e) { return e.id == id; });
        }
      }
      const auto erased = EraseFromCorpus(corpus_folder, TestKey(), targets);
      ASSERT_TRUE(erased.ok()) << erased.status();
      const auto corpus = Corpus::Open(corpus_folder, TestKey());
      ASSERT_TRUE(corpus.ok()) << corpus.status();
      ExpectHolds(*corpus, expected);
      ExpectFinds(*corpus, expected);
      ExpectSound(corpus_folder);
      if (HasFailure()) return;
    }
  }
}

class CorpusTest : public testing::Test {
 protected:
  Corpus Build(const std::vector<MadeLine>& lines,
               CorpusOptions options = {.shards = 4, .slices = 3}) {
    const auto built =
        BuildCorpus(Folder(), TestKey(), options, InputOf(WriteLines(folder_ / "in", lines), 1000));
    EXPECT_TRUE(built.ok()) << built.status();
    return *Corpus::Open(Folder(), TestKey());
  }
  std::filesystem::path Folder() const { return folder_ / "corpus"; }

  TempFolder folder_;
  LineMaker maker_{7, 1000, 20};
};

TEST_F(CorpusTest, TouchesSaysWhatADeletionTouchesAndEraseTouchesThat) {
  const auto lines = maker_.Take(300);
  const Corpus corpus = Build(lines);
  const ErasureTargets targets{.subjects = {"person-3", "nobody"}, .sequences = {{5}}};
  const auto touched = corpus.Touches(targets);
  ASSERT_TRUE(touched.ok()) << touched.status();
  uint64_t tokens = 0, count = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].subject != "person-3" && i != 5) continue;
    tokens += lines[i].sequence.ids.size();
    ++count;
  }
  EXPECT_EQ(touched->sequences.size(), count);
  EXPECT_EQ(touched->tokens, tokens);
  EXPECT_EQ(touched->absent, 1u);
  EXPECT_LE(touched->shards.size(), 2u) << "a person is in one shard";

  const auto erased = EraseFromCorpus(Folder(), TestKey(), targets);
  ASSERT_TRUE(erased.ok());
  EXPECT_EQ(erased->sequences, touched->sequences);
  std::vector<SlicePlace> places;
  for (const ErasedSlice& s : erased->slices) places.push_back(s.place);
  EXPECT_EQ(places, touched->slices);

  const auto again = EraseFromCorpus(Folder(), TestKey(), targets);
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->sequences.empty() && again->slices.empty());
  EXPECT_EQ(again->absent, 3u);
}

TEST_F(CorpusTest, SliceDigestsAreThoseOfTheContentAlone) {
  const auto lines = maker_.Take(200);
  const Corpus before = Build(lines);
  const auto erased = EraseFromCorpus(Folder(), TestKey(), {.sequences = {{17}}});
  ASSERT_TRUE(erased.ok() && erased->slices.size() == 1);
  const Corpus after = *Corpus::Open(Folder(), TestKey());
  for (const SliceEntry& entry : before.manifest().files) {
    const bool touched = entry.place == erased->slices[0].place;
    EXPECT_EQ(before.SliceDigest(entry.place) == after.SliceDigest(entry.place), !touched);
  }
  EXPECT_EQ(erased->slices[0].digest_before, before.SliceDigest(erased->slices[0].place));
  EXPECT_EQ(erased->slices[0].digest_after, after.SliceDigest(erased->slices[0].place));

  // What the header says: SHA-256 over AppendContent of all, whatever the ids.
  std::string content;
  ASSERT_TRUE(after
                  .ForEach(erased->slices[0].place,
                           [&](const StoredSequence& s) {
                             AppendContent(s.sequence, &content);
                             return absl::OkStatus();
                           })
                  .ok());
  EXPECT_EQ(after.SliceDigest(erased->slices[0].place), Sha256Hex(content));
}

TEST_F(CorpusTest, AnOpenCorpusKeepsItsState) {
  const Corpus before = Build(maker_.Take(100));
  ASSERT_TRUE(EraseFromCorpus(Folder(), TestKey(), {.sequences = {{3}}}).ok());
  EXPECT_TRUE(before.Get({3})->has_value());
  EXPECT_FALSE(Corpus::Open(Folder(), TestKey())->Get({3})->has_value());
}

TEST_F(CorpusTest, IdsAreNotGivenTwice) {
  Build(maker_.Take(10));
  ASSERT_TRUE(EraseFromCorpus(Folder(), TestKey(), {.sequences = {{9}}}).ok());
  ASSERT_TRUE(
      AppendToCorpus(Folder(), TestKey(), InputOf(WriteLines(folder_ / "in", maker_.Take(1)), 1000))
          .ok());
  const Corpus corpus = *Corpus::Open(Folder(), TestKey());
  EXPECT_FALSE(corpus.Get({9})->has_value());
  EXPECT_TRUE(corpus.Get({10})->has_value());
  EXPECT_EQ(ErrorReason(corpus.Get({11}).status()), "SEQUENCE_UNKNOWN");
  EXPECT_EQ(ErrorReason(EraseFromCorpus(Folder(), TestKey(), {.sequences = {{11}}}).status()),
            "SEQUENCE_UNKNOWN");
}

TEST_F(CorpusTest, OnlyTheOwnerMayReadIt) {
  const Corpus corpus = Build(maker_.Take(10));
  for (const auto& entry : std::filesystem::directory_iterator(Folder())) {
    struct stat status;
    ASSERT_EQ(stat(entry.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u) << entry.path();
  }
}

TEST_F(CorpusTest, TheSameInputGivesTheSameBytes) {
  const auto lines = maker_.Take(100);
  Build(lines);
  ASSERT_TRUE(BuildCorpus(folder_ / "again", TestKey(), {.shards = 4, .slices = 3},
                          InputOf(folder_ / "in", 1000))
                  .ok());
  for (const auto& entry : std::filesystem::directory_iterator(Folder())) {
    EXPECT_EQ(BytesOf(entry.path()), BytesOf(folder_ / "again" / entry.path().filename()));
  }
}

TEST_F(CorpusTest, DocumentsMayComeInPartsWhereTheCorpusSaysSo) {
  auto lines = maker_.Take(20);
  for (MadeLine& line : lines) line.document = "report";
  Build(lines, {.shards = 3, .slices = 2, .document_parts = true});
  ASSERT_TRUE(
      AppendToCorpus(Folder(), TestKey(), InputOf(WriteLines(folder_ / "in", lines), 1000)).ok());
  EXPECT_EQ(Corpus::Open(Folder(), TestKey())->FindDocument("report")->size(), 40u);
  EXPECT_EQ(EraseFromCorpus(Folder(), TestKey(), {.documents = {"report"}})->sequences.size(), 40u);
  ExpectSound(Folder());
}

TEST_F(CorpusTest, AnotherKeyAnotherFolder) {
  Build(maker_.Take(5));
  EXPECT_EQ(ErrorReason(Corpus::Open(Folder(), TestKey('x')).status()), "KEY_WRONG");
  EXPECT_EQ(ErrorReason(CheckCorpus(Folder(), TestKey('x')).status()), "KEY_WRONG");
  EXPECT_EQ(ErrorReason(EraseFromCorpus(Folder(), TestKey('x'), {}).status()), "KEY_WRONG");
  EXPECT_EQ(ErrorReason(Corpus::Open(folder_.path(), TestKey()).status()), "CORPUS_MISSING");
  EXPECT_EQ(ErrorReason(EraseFromCorpus(folder_.path(), TestKey(), {}).status()), "CORPUS_MISSING");
}

// --- near-duplicates ---------------------------------------------------------------------------

MadeLine Line(std::vector<int32_t> ids, std::string subject) {
  return {{std::move(ids), 0, {}}, std::move(subject), std::nullopt};
}

class NearTest : public CorpusTest {
 protected:
  std::vector<int32_t> Random(size_t tokens) {
    std::vector<int32_t> ids(tokens);
    for (int32_t& id : ids) id = maker_.Below(1000);
    return ids;
  }
  std::vector<uint64_t> Found(const NearResult& near) {
    std::vector<uint64_t> ids;
    for (const NearSequence& n : near.sequences) ids.push_back(n.id.value);
    std::sort(ids.begin(), ids.end());
    return ids;
  }
};

TEST_F(NearTest, FindsEqualChangedContainedAndContaining) {
  const auto secret = Random(40);
  auto changed = secret;
  changed[5] = (changed[5] + 1) % 1000;
  auto longer = Random(100);
  longer.insert(longer.begin() + 50, secret.begin(), secret.end());
  const std::vector<int32_t> part(secret.begin() + 12, secret.begin() + 30);
  auto lines = maker_.Take(200);
  lines.push_back(Line(secret, "a"));   // 200
  lines.push_back(Line(secret, "b"));   // 201
  lines.push_back(Line(changed, "c"));  // 202
  lines.push_back(Line(longer, "d"));   // 203
  lines.push_back(Line(part, "e"));     // 204
  const Corpus corpus = Build(lines);
  const auto near = FindNear(corpus, secret);
  ASSERT_TRUE(near.ok()) << near.status();
  EXPECT_EQ(Found(*near), (std::vector<uint64_t>{200, 201, 202, 203, 204}));
  EXPECT_EQ(near->common_prints, 0u);
  for (const NearSequence& n : near->sequences) {
    EXPECT_EQ(n.equal, n.id.value <= 201);
    EXPECT_EQ(n.place, (*corpus.Get(n.id))->place);
    // 35 grams of 6 tokens: the changed token is in six of them; the part has 13.
    if (n.id.value == 202) {
      EXPECT_DOUBLE_EQ(n.contained, 29.0 / 35);
    }
    if (n.id.value == 203) {
      EXPECT_DOUBLE_EQ(n.contained, 1);
    }
    if (n.id.value == 204) {
      EXPECT_DOUBLE_EQ(n.contained, 13.0 / 35);
    }
    if (n.id.value != 202) {
      EXPECT_DOUBLE_EQ(n.overlap, 1);
    }
  }
  EXPECT_EQ(Found(*FindNear(corpus, secret, {.min_overlap = 0.9})).size(), 4u);
}

TEST_F(NearTest, FindsShortOnesOnlyWhenTheyAreEqual) {
  const Corpus corpus =
      Build({Line({1, 2, 3}, "a"), Line({1, 2, 3}, "b"), Line({1, 2, 4}, "c"), Line({1, 2}, "d")});
  EXPECT_EQ(Found(*FindNear(corpus, std::vector<int32_t>{1, 2, 3})), (std::vector<uint64_t>{0, 1}));
}

TEST_F(NearTest, APhraseThatManyHaveFindsNobodyButEqualOnesAreFound) {
  const auto phrase = Random(20);
  std::vector<MadeLine> lines;
  for (int i = 0; i < 60; ++i) {
    auto ids = phrase;
    ids.push_back(i);
    lines.push_back(Line(ids, "person-" + std::to_string(i)));
  }
  lines.push_back(lines[10]);
  const Corpus corpus = Build(lines);
  const auto all = FindNear(corpus, lines[10].sequence.ids);
  EXPECT_EQ(all->sequences.size(), 61u);
  const auto near = FindNear(corpus, lines[10].sequence.ids, {.max_sequences = 59});
  EXPECT_GT(near->common_prints, 0u);
  EXPECT_EQ(Found(*near), (std::vector<uint64_t>{10, 60}));
}

// Against comparing with everything, at random.
TEST_F(NearTest, MissesNothingThatSharesALongRun) {
  const auto base = Random(60);
  std::vector<MadeLine> lines;
  for (int i = 0; i < 200; ++i) {
    const int begin = maker_.Below(40), length = 2 + maker_.Below(20);
    auto ids = Random(static_cast<size_t>(maker_.Below(10)));
    ids.insert(ids.end(), base.begin() + begin, base.begin() + std::min(60, begin + length));
    lines.push_back(Line(ids, "person-" + std::to_string(maker_.Below(50))));
  }
  const Corpus corpus = Build(lines);
  const auto near = FindNear(corpus, base, {.min_overlap = 0});
  ASSERT_TRUE(near.ok());
  const auto found = Found(*near);
  for (size_t i = 0; i < lines.size(); ++i) {
    const auto& ids = lines[i].sequence.ids;
    bool long_run = false;  // of n + window - 1 = 11 tokens
    for (size_t a = 0; a + 11 <= ids.size(); ++a) {
      long_run |= std::search(base.begin(), base.end(), ids.begin() + static_cast<ptrdiff_t>(a),
                              ids.begin() + static_cast<ptrdiff_t>(a) + 11) != base.end();
    }
    if (long_run) {
      EXPECT_TRUE(std::binary_search(found.begin(), found.end(), i)) << i;
    }
  }
}

TEST_F(NearTest, WhatIsErasedIsNotFound) {
  const auto secret = Random(30);
  Build({Line(secret, "a"), Line(secret, "b")});
  ASSERT_TRUE(EraseFromCorpus(Folder(), TestKey(), {.subjects = {"a"}}).ok());
  EXPECT_EQ(Found(*FindNear(*Corpus::Open(Folder(), TestKey()), secret)),
            (std::vector<uint64_t>{1}));
}

}  // namespace
}  // namespace lethe
