// The parts that a corpus is made of: hashes, records, tables, sorting.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "absl/strings/escaping.h"
#include "base/status.h"
#include "corpus/byte_order.h"
#include "corpus/checksum.h"
#include "corpus/corpus_key.h"
#include "corpus/fingerprints.h"
#include "corpus/mapped_file.h"
#include "corpus/paged_table.h"
#include "corpus/record_sorter.h"
#include "corpus/sequence_record.h"
#include "corpus/siphash.h"
#include "corpus/slice_format.h"
#include "tests/support/temp_folder.h"

namespace lethe {
namespace {

std::string Hex(std::string_view bytes) { return absl::BytesToHexString(std::string(bytes)); }

// RFC 3720 (iSCSI), appendix B.4, which prints the bytes in the order of the wire.
TEST(Crc32c, IsThatOfTheRfc) {
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32cByTableForTest("123456789"), 0xe3069283u);
}

TEST(Crc32c, OfPartsIsThatOfTheWholeByInstructionAndByTable) {
  std::mt19937_64 random(1);
  std::string bytes;
  for (int i = 0; i < 300; ++i) bytes.push_back(static_cast<char>(random()));
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    const std::string a = bytes.substr(0, cut), b = bytes.substr(cut);
    EXPECT_EQ(Crc32c(b, Crc32c(a)), Crc32c(bytes));
    EXPECT_EQ(Crc32cByTableForTest(a), Crc32c(a));
  }
}

// The paper's appendix A: key 00 01 .. 0f, message 00 01 .. 0e.
TEST(SipHash, IsThatOfThePaper) {
  std::string message;
  for (char c = 0; c < 15; ++c) message.push_back(c);
  EXPECT_EQ(SipHash({0x0706050403020100, 0x0f0e0d0c0b0a0908}, message), 0xa129ca6149be45e5u);
}

// python3: hmac.new(hmac.new(secret, b"lethe corpus subjects", "sha256").digest(), b"p-17", "sha256")
TEST(CorpusKey, HashesAreThoseOfAnotherProgram) {
  const CorpusKey key = *CorpusKey::FromBytes("0123456789abcdef0123456789abcdef");
  EXPECT_EQ(Hex(View(key.OfSubject("p-17"))), "106eed3362ed1b710c35cf27e7eab319");
  EXPECT_EQ(Hex(View(key.OfDocument("p-17"))), "f0a9d0f24102517fee084aa731756b99");
  EXPECT_EQ(key.id(), "58ead931d52c4419b0f24d9b90053d74");
  EXPECT_EQ(ErrorReason(CorpusKey::FromBytes(std::string(31, 'x')).status()), "KEY_TOO_SHORT");
}

// By hand: 3 tokens, 1 of them prompt, one span 2..3: gap 2, length 1.
TEST(SequenceRecord, BytesAreThoseOfTheGrammar) {
  const Sequence sequence{{1, 300, 65535}, 1, {{2, 3}}};
  std::string bytes;
  AppendRecord({7}, sequence, 2, &bytes);
  EXPECT_EQ(Hex(bytes.substr(4)),
            "030101"
            "0201"
            "01002c01ffff");
  const std::string checked = std::string("\0\0\0\0\7", 5) + bytes.substr(4);
  EXPECT_EQ(LoadLittle(bytes.data(), 4), Crc32cByTableForTest(checked));
  EXPECT_EQ(*ParseRecord(bytes + "behind it", {7}, 2, "f"), sequence);
  std::string content;
  AppendContent(sequence, &content);
  EXPECT_EQ(Hex(content),
            "03000000"
            "01000000"
            "01000000"
            "02000000"
            "03000000"
            "01000000"
            "2c010000"
            "ffff0000");
}

TEST(SequenceRecord, EveryFlippedBitAndEveryCutIsFound) {
  const Sequence sequence{{1, 70000, 5, 6, 7, 8}, 2, {{2, 3}, {4, 6}}};
  for (const int id_bytes : {3, 4}) {
    std::string bytes;
    AppendRecord({1}, sequence, id_bytes, &bytes);
    EXPECT_EQ(*ParseRecord(bytes, {1}, id_bytes, "f"), sequence);
    EXPECT_EQ(ErrorReason(ParseRecord(bytes, {2}, id_bytes, "f").status()), "CORPUS_DAMAGED");
    for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
      std::string damaged = bytes;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
      EXPECT_FALSE(ParseRecord(damaged, {1}, id_bytes, "f").ok()) << "bit " << bit;
    }
    for (size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(ParseRecord(bytes.substr(0, size), {1}, id_bytes, "f").ok()) << size;
    }
  }
}

TEST(SequenceRecord, IdsTakeTheBytesThatTheVocabularyNeeds) {
  EXPECT_EQ(TokenIdBytes(2), 2);
  EXPECT_EQ(TokenIdBytes(65536), 2);
  EXPECT_EQ(TokenIdBytes(65537), 3);
  EXPECT_EQ(TokenIdBytes(1 << 24), 3);
  EXPECT_EQ(TokenIdBytes((1 << 24) + 1), 4);
}

// The guarantee of winnowing: a shared run of n + window - 1 tokens leaves a shared fingerprint.
TEST(Fingerprints, ASharedRunLeavesASharedFingerprint) {
  std::mt19937_64 random(2);
  const SipKey key{1, 2};
  for (int round = 0; round < 500; ++round) {
    const GramOptions options{1 + static_cast<int>(random() % 6),
                              1 + static_cast<int>(random() % 6)};
    std::vector<int32_t> a(random() % 30), b(random() % 30), run;
    for (auto* ids : {&a, &b}) {
      for (int32_t& id : *ids) id = static_cast<int32_t>(random() % 1000);
    }
    for (int i = 0; i < options.gram_tokens + options.window - 1; ++i) {
      run.push_back(static_cast<int32_t>(random() % 1000));
    }
    for (auto* ids : {&a, &b}) {
      ids->insert(ids->begin() + static_cast<ptrdiff_t>(random() % (ids->size() + 1)), run.begin(),
                  run.end());
    }
    const auto of_a = Fingerprints(a, options, key), of_b = Fingerprints(b, options, key);
    std::vector<uint64_t> shared;
    std::set_intersection(of_a.begin(), of_a.end(), of_b.begin(), of_b.end(),
                          std::back_inserter(shared));
    EXPECT_FALSE(shared.empty()) << "round " << round;
  }
}

TEST(Fingerprints, AreFewAndKeyed) {
  std::mt19937_64 random(3);
  std::vector<int32_t> ids(10000);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % 50000);
  const auto prints = Fingerprints(ids, {6, 6}, {1, 2});
  EXPECT_NEAR(static_cast<double>(prints.size()), 10000 * 2.0 / 7, 200);  // the paper's density
  EXPECT_TRUE(std::is_sorted(prints.begin(), prints.end()));
  const auto others = Fingerprints(ids, {6, 6}, {1, 3});
  std::vector<uint64_t> shared;
  std::set_intersection(prints.begin(), prints.end(), others.begin(), others.end(),
                        std::back_inserter(shared));
  EXPECT_TRUE(shared.empty());
}

TEST(RecordSorter, SortsWhatMemoryDoesNotHold) {
  TempFolder folder;
  for (const size_t budget : {size_t{1} << 20, size_t{3000}, size_t{1}}) {
    std::mt19937_64 random(4);
    RecordSorter<kPlaceBytes> sorter(folder.path(), budget);
    std::vector<std::string> expected;
    for (int i = 0; i < 500; ++i) {
      std::string record(kPlaceBytes, '\0');
      for (char& c : record) c = static_cast<char>(random() % 3);  // equal ones among them
      ASSERT_TRUE(sorter.Add(record).ok());
      expected.push_back(record);
    }
    std::sort(expected.begin(), expected.end());
    std::vector<std::string> sorted;
    EXPECT_EQ(sorter.records(), 500u);
    EXPECT_TRUE(std::filesystem::is_empty(folder.path())) << "a spill has no name";
    ASSERT_TRUE(sorter
                    .Drain([&](std::string_view record) {
                      sorted.emplace_back(record);
                      return absl::OkStatus();
                    })
                    .ok());
    EXPECT_EQ(sorted, expected) << budget;
  }
}

class PagedTableTest : public testing::TestWithParam<int> {};

TEST_P(PagedTableTest, FindsAsASetDoes) {
  TempFolder folder;
  std::mt19937_64 random(5);
  std::set<std::string> expected;
  while (expected.size() < static_cast<size_t>(GetParam())) {
    std::string record(kGramEntryBytes, '\0');
    StoreBig(record.data(), random() % 5000, 8);
    StoreBig(record.data() + 8, random() % 4, 5);
    expected.insert(record);
  }
  OutputFile file = *OutputFile::Create(folder / "table");
  TableWriter writer(kGramEntryBytes, &file);
  for (const std::string& record : expected) ASSERT_TRUE(writer.Append(record).ok());
  ASSERT_TRUE(writer.Finish().ok());
  ASSERT_TRUE(file.Finish().ok());
  const MappedFile mapped = *MappedFile::Open(folder / "table");
  EXPECT_EQ(mapped.bytes().size(), TableBytes(kGramEntryBytes, expected.size()));
  const PagedTable table(mapped.bytes(), kGramEntryBytes, expected.size(), "table");
  for (uint64_t key = 0; key < 5001; key += 1 + random() % 10) {
    std::string prefix(8, '\0');
    StoreBig(prefix.data(), key, 8);
    const auto at = expected.lower_bound(prefix);
    EXPECT_EQ(*table.LowerBound(prefix),
              static_cast<uint64_t>(std::distance(expected.begin(), at)));
    std::vector<std::string> found, wanted;
    ASSERT_TRUE(table
                    .ForEachWith(prefix,
                                 [&](std::string_view record) {
                                   found.emplace_back(record);
                                   return absl::OkStatus();
                                 })
                    .ok());
    for (auto it = at; it != expected.end() && it->starts_with(prefix); ++it) wanted.push_back(*it);
    EXPECT_EQ(found, wanted);
  }
}
// 314 records of 13 bytes fill a page.
INSTANTIATE_TEST_SUITE_P(Sizes, PagedTableTest,
                         testing::Values(0, 1, 2, 313, 314, 315, 628, 629, 4000));

TEST(PagedTable, AFlippedBitIsFoundByWhoComesAcrossIt) {
  TempFolder folder;
  OutputFile file = *OutputFile::Create(folder / "table");
  TableWriter writer(kPlaceBytes, &file);
  std::vector<std::string> records;
  for (uint64_t i = 0; i < 1000; ++i) {
    records.emplace_back(kPlaceBytes, '\0');
    StoreBig(records.back().data() + 2, i * i, 8);
    ASSERT_TRUE(writer.Append(records.back()).ok());
  }
  ASSERT_TRUE(writer.Finish().ok() && file.Finish().ok());
  const MappedFile mapped = *MappedFile::Open(folder / "table");
  for (size_t bit = 5; bit < 8 * mapped.bytes().size(); bit += 97) {
    std::string damaged(mapped.bytes());
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    const PagedTable table(damaged, kPlaceBytes, records.size(), "table");
    int refused = 0;
    for (size_t i = 0; i < records.size(); i += 37) {
      const auto found = table.LowerBound(records[i]);
      if (found.ok()) {
        EXPECT_EQ(*found, i) << "never a wrong answer";
      }
      refused += found.ok() ? 0 : 1;
    }
    EXPECT_GT(refused, 0) << "bit " << bit;
    EXPECT_EQ(ErrorReason(table.ForEach([](std::string_view) { return absl::OkStatus(); })),
              "CORPUS_DAMAGED");
  }
}

}  // namespace
}  // namespace lethe
