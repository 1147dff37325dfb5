// Corpora of invented sequences for tests, and what is expected of one in plain memory.
#ifndef LETHE_TESTS_CORPUS_MADE_CORPUS_H_
#define LETHE_TESTS_CORPUS_MADE_CORPUS_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "corpus/build.h"
#include "corpus/check.h"
#include "corpus/corpus.h"
#include "corpus/erase.h"

namespace lethe {

inline CorpusKey TestKey(char fill = 'k') { return *CorpusKey::FromBytes(std::string(32, fill)); }

struct MadeLine {
  Sequence sequence;
  std::string subject;
  std::optional<std::string> document;
};

class LineMaker {
 public:
  LineMaker(uint64_t seed, int32_t vocab_size, int people)
      : random_(seed), vocab_size_(vocab_size), people_(people) {}

  int Below(int n) { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }

  MadeLine Next() {
    MadeLine line;
    const int tokens = 2 + Below(40);
    for (int i = 0; i < tokens; ++i) line.sequence.ids.push_back(Below(vocab_size_));
    if (Below(3) == 0) line.sequence.prompt_tokens = Below(tokens);
    for (int at = line.sequence.prompt_tokens; Below(3) == 0;) {
      const int begin = at + Below(5), end = begin + 1 + Below(4);
      if (end > tokens) break;
      line.sequence.sensitive.push_back({begin, end});
      at = end;
    }
    line.subject = "person-" + std::to_string(Below(people_));
    if (Below(4) != 0) line.document = "document-" + std::to_string(documents_++);
    return line;
  }
  std::vector<MadeLine> Take(int count) {
    std::vector<MadeLine> lines;
    for (int i = 0; i < count; ++i) lines.push_back(Next());
    return lines;
  }

 private:
  std::mt19937_64 random_;
  int32_t vocab_size_;
  int people_;
  int documents_ = 0;
};

inline nlohmann::json ToJson(const MadeLine& line) {
  nlohmann::json json = {{"ids", line.sequence.ids},
                         {"prompt_tokens", line.sequence.prompt_tokens},
                         {"subject", line.subject}};
  if (line.document.has_value()) json["document"] = *line.document;
  for (const Span& span : line.sequence.sensitive) {
    json["sensitive_spans"].push_back({span.begin, span.end});
  }
  return json;
}

inline std::filesystem::path WriteLines(const std::filesystem::path& file,
                                        const std::vector<MadeLine>& lines) {
  std::ofstream out(file, std::ios::binary);
  for (const MadeLine& line : lines) out << ToJson(line).dump() << "\n";
  return file;
}

inline CorpusInput InputOf(const std::filesystem::path& file, int32_t vocab_size) {
  CorpusInput input{.files = {file}};
  input.limits.vocab_size = vocab_size;
  return input;
}

inline std::string BytesOf(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

// The sequences of a corpus as they are expected to stand in it.
struct Expected {
  struct Entry {
    uint64_t id;
    MadeLine line;
    SlicePlace place;
  };
  std::vector<Entry> entries;  // ascending by id
  uint64_t next_id = 0;
  uint32_t shards = 0, slices = 0;

  // The shard of a person is the corpus's own business; all else is computed here.
  void Build(const std::vector<MadeLine>& lines, uint32_t s, uint32_t r) {
    shards = s, slices = r;
    Add(lines);
    std::map<uint32_t, uint64_t> count, seen;
    for (const Entry& e : entries) ++count[e.place.shard];
    for (Entry& e : entries) {
      const uint64_t k = seen[e.place.shard]++;
      e.place.slice = static_cast<uint32_t>(k * slices / count[e.place.shard]);
    }
  }
  void Add(const std::vector<MadeLine>& lines) {
    for (const MadeLine& line : lines) {
      const uint32_t shard = ShardOf(TestKey().OfSubject(line.subject), shards);
      entries.push_back({next_id++, line, {shard, slices - 1}});
    }
  }
  template <typename Condition>
  void Erase(const Condition& condition) {
    std::erase_if(entries, condition);
  }
};

inline void ExpectSound(const std::filesystem::path& folder) {
  const auto report = CheckCorpus(folder, TestKey());
  ASSERT_TRUE(report.ok()) << report.status();
  for (const CheckFinding& finding : report->findings) {
    ADD_FAILURE() << finding.file << ": " << finding.what;
  }
}

// Every sequence where it is expected, in order, and nothing else.
inline void ExpectHolds(const Corpus& corpus, const Expected& expected) {
  std::map<SlicePlace, std::vector<const Expected::Entry*>> by_slice;
  for (const auto& entry : expected.entries) by_slice[entry.place].push_back(&entry);
  EXPECT_EQ(corpus.sequences(), expected.entries.size());
  EXPECT_EQ(corpus.manifest().next_id, expected.next_id);
  for (uint32_t shard = 0; shard < corpus.shards(); ++shard) {
    for (uint32_t slice = 0; slice < corpus.slices(); ++slice) {
      const auto& wanted = by_slice[{shard, slice}];
      size_t i = 0;
      const absl::Status status = corpus.ForEach({shard, slice}, [&](const StoredSequence& stored) {
        EXPECT_LT(i, wanted.size());
        if (i < wanted.size()) {
          EXPECT_EQ(stored.id.value, wanted[i]->id);
          EXPECT_EQ(stored.sequence, wanted[i]->line.sequence);
        }
        ++i;
        return absl::OkStatus();
      });
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_EQ(i, wanted.size()) << "shard " << shard << " slice " << slice;
    }
  }
}

}  // namespace lethe

#endif  // LETHE_TESTS_CORPUS_MADE_CORPUS_H_
