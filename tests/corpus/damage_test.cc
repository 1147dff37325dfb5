// A corpus whose bytes were changed: each flipped bit and each cut of each file is found and told
// with the file's name; what is read is right or refused; nothing crashes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status.h"
#include "corpus/near.h"
#include "tests/corpus/made_corpus.h"
#include "tests/support/temp_folder.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

class DamageTest : public testing::Test {
 protected:
  void SetUp() override {
    LineMaker maker(5, 300, 3);
    lines_ = maker.Take(9);
    lines_.push_back(lines_[0]);  // a duplicate that FindNear must find
    lines_.back().document = "the last";
    const auto built = BuildCorpus(Folder(), TestKey(), {.shards = 2, .slices = 2},
                                   InputOf(WriteLines(folder_ / "in", lines_), 300));
    ASSERT_TRUE(built.ok()) << built.status();
    ExpectSound(Folder());
    sound_ = Answers();
  }
  fs::path Folder() const { return folder_ / "corpus"; }

  // In place where it is there: a file that is made anew in each round waits for the disk.
  void Write(const fs::path& file, const std::string& bytes) {
    if (!fs::exists(file)) std::ofstream(file).flush();
    std::fstream(file, std::ios::binary | std::ios::in | std::ios::out) << bytes;
    if (fs::file_size(file) != bytes.size()) fs::resize_file(file, bytes.size());
  }

  // All that can be asked of a corpus; where it is refused, the reason.
  std::vector<std::string> Answers() {
    const auto corpus = Corpus::Open(Folder(), TestKey());
    if (!corpus.ok()) return {"refused " + ErrorReason(corpus.status())};
    std::vector<std::string> answers;
    const auto add = [&](const auto& answer, const auto& print) {
      answers.push_back(answer.ok() ? print(*answer) : "refused " + ErrorReason(answer.status()));
    };
    const auto ids = [](const std::vector<SequenceId>& found) {
      std::string text;
      for (const SequenceId id : found) text += std::to_string(id.value) + " ";
      return text;
    };
    for (const MadeLine& line : lines_) {
      add(corpus->FindSubject(line.subject), ids);
      add(corpus->FindDocument(line.document.value_or("none")), ids);
      add(FindNear(*corpus, line.sequence.ids), [](const NearResult& near) {
        std::string text;
        for (const NearSequence& n : near.sequences) text += std::to_string(n.id.value) + " ";
        return text;
      });
    }
    for (uint64_t id = 0; id < lines_.size(); ++id) {
      add(corpus->Get({id}), [](const std::optional<FoundSequence>& found) {
        if (!found.has_value()) return std::string("none");
        std::string content;
        AppendContent(found->stored.sequence, &content);
        return content;
      });
    }
    return answers;
  }

  void ExpectFound(const fs::path& file, const std::string& how) {
    const auto report = CheckCorpus(Folder(), TestKey());
    ASSERT_TRUE(report.ok()) << how << ": " << report.status();
    ASSERT_FALSE(report->findings.empty()) << how;
    EXPECT_EQ(report->findings[0].file, file.filename()) << how;
    EXPECT_THAT(report->findings[0].what, testing::HasSubstr(file.filename().string())) << how;
    const auto answers = Answers();
    if (answers.size() == 1) {
      EXPECT_EQ(answers[0], "refused CORPUS_DAMAGED") << how;
      return;
    }
    ASSERT_EQ(answers.size(), sound_.size());
    for (size_t i = 0; i < answers.size(); ++i) {
      EXPECT_TRUE(answers[i] == sound_[i] || answers[i] == "refused CORPUS_DAMAGED")
          << how << ", answer " << i << ": " << answers[i];
    }
  }

  std::vector<fs::path> Files() {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(Folder())) {
      if (entry.file_size() > 0) files.push_back(entry.path());
    }
    EXPECT_EQ(files.size(), 5u);  // the manifest and four slices
    return files;
  }

  TempFolder folder_;
  std::vector<MadeLine> lines_;
  std::vector<std::string> sound_;
};

TEST_F(DamageTest, EveryByteOfEveryFile) {
  for (const fs::path& file : Files()) {
    const std::string bytes = BytesOf(file);
    for (size_t i = 0; i < bytes.size() && !HasFailure(); ++i) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ 1 << i % 8);
      Write(file, damaged);
      ExpectFound(file, file.filename().string() + " byte " + std::to_string(i));
    }
    Write(file, bytes);
  }
  ExpectSound(Folder());
}

TEST_F(DamageTest, EveryLengthOfEveryFile) {
  for (const fs::path& file : Files()) {
    const std::string bytes = BytesOf(file);
    for (size_t size = bytes.size() - 1; size > 0 && !HasFailure(); --size) {
      fs::resize_file(file, size);
      ExpectFound(file, file.filename().string() + " cut to " + std::to_string(size));
    }
    Write(file, "");
    ExpectFound(file, file.filename().string() + " emptied");
    Write(file, bytes + "x");
    ExpectFound(file, file.filename().string() + " and a byte more");
    fs::remove(file);
    if (file.filename() != kManifestName) ExpectFound(file, "removed");
    Write(file, bytes);
  }
}

TEST_F(DamageTest, SlicesThatChangedPlaces) {
  const auto files = Files();
  std::vector<fs::path> slices;
  for (const fs::path& file : files) {
    if (file.extension() == ".slice") slices.push_back(file);
  }
  for (size_t i = 0; i + 1 < slices.size(); ++i) {
    const std::string a = BytesOf(slices[i]), b = BytesOf(slices[i + 1]);
    Write(slices[i], b);
    Write(slices[i + 1], a);
    EXPECT_EQ(ErrorReason(Corpus::Open(Folder(), TestKey()).status()), "CORPUS_DAMAGED");
    EXPECT_EQ(CheckCorpus(Folder(), TestKey())->findings.size(), 2u);
    Write(slices[i], a);
    Write(slices[i + 1], b);
  }
}

TEST_F(DamageTest, WritersRefuseWhatIsDamagedAndChangeNothing) {
  for (const fs::path& file : Files()) {
    const std::string bytes = BytesOf(file);
    std::string damaged = bytes;
    damaged[bytes.size() / 2] ^= 4;
    Write(file, damaged);
    const auto erased = EraseFromCorpus(Folder(), TestKey(), {.subjects = {lines_[0].subject}});
    if (!erased.ok()) {
      EXPECT_EQ(ErrorReason(erased.status()), "CORPUS_DAMAGED");
    }
    if (erased.ok()) break;  // it did not meet the damage: the other shard
    EXPECT_EQ(BytesOf(file), damaged);
    Write(file, bytes);
    EXPECT_EQ(Answers(), sound_);
  }
}

TEST_F(DamageTest, FilesOfNobodyAreTold) {
  Write(Folder() / "s000-r000-g9.slice", "left");
  Write(Folder() / "notes.txt", "mine");
  const auto report = CheckCorpus(Folder(), TestKey());
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->findings.size(), 2u);
  ASSERT_TRUE(SweepCorpus(Folder()).ok());
  EXPECT_FALSE(fs::exists(Folder() / "s000-r000-g9.slice"));
  EXPECT_TRUE(fs::exists(Folder() / "notes.txt"));
}

}  // namespace
}  // namespace lethe
