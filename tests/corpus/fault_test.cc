// The process is killed, or the disk fails, at each file operation of a build, an append and an
// erasure: the folder shows the state before or the one after, doing it again finishes it, and what
// was erased is in no file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "absl/strings/escaping.h"
#include "base/status.h"
#include "corpus/byte_order.h"
#include "corpus/corpus_folder.h"
#include "corpus/fingerprints.h"
#include "tests/corpus/made_corpus.h"
#include "tests/support/file_faults.h"
#include "tests/support/temp_folder.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

constexpr int kVocabSize = 50000;
constexpr char kSubject[] = "person-1";

// What must not be found: pieces of the ids in each encoding that files use, hashes of the keys raw
// and as hex, fingerprints.
std::vector<std::string> Traces(const MadeLine& line) {
  std::vector<std::string> traces;
  const auto& ids = line.sequence.ids;
  for (const size_t width : {2, 3, 4}) {
    for (size_t i = 0; i + 4 <= ids.size(); ++i) {
      std::string& run = traces.emplace_back();
      for (size_t k = i; k < i + 4; ++k) PutLittle(&run, static_cast<uint64_t>(ids[k]), width);
    }
  }
  const auto add_hash = [&](const KeyHash& hash) {
    traces.emplace_back(View(hash));
    traces.push_back(absl::BytesToHexString(traces.back()));
  };
  add_hash(TestKey().OfSubject(line.subject));
  traces.push_back(line.subject);
  if (line.document.has_value()) {
    add_hash(TestKey().OfDocument(*line.document));
    traces.push_back(*line.document);
  }
  for (const uint64_t print : Fingerprints(ids, {}, TestKey().grams())) {
    traces.emplace_back(8, '\0');
    StoreBig(traces.back().data(), print, 8);
  }
  return traces;
}

// How many of the traces stand in the files of the folder.
int CountTraces(const fs::path& folder, const std::vector<std::string>& traces) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string bytes = BytesOf(entry.path());
    for (const std::string& trace : traces) count += bytes.find(trace) != std::string::npos ? 1 : 0;
  }
  return count;
}

class FaultTest : public testing::Test {
 protected:
  void SetUp() override {
    LineMaker maker(11, kVocabSize, 6);
    lines_ = maker.Take(60);
    late_ = maker.Take(20);
    for (MadeLine& line : late_) line.subject += "-late";
    WriteLines(folder_ / "in", lines_);
    WriteLines(folder_ / "late", late_);
    ASSERT_TRUE(Build(folder_ / "before").ok());
    before_.Build(lines_, 2, 2);
    for (const MadeLine& line : lines_) {
      if (line.subject != kSubject) continue;
      for (std::string& trace : Traces(line)) traces_.push_back(std::move(trace));
    }
    ASSERT_GT(CountTraces(folder_ / "before", traces_), 50) << "the scan sees what is there";
  }
  void TearDown() override { FileFaults::Stop(); }

  fs::path Work() const { return folder_ / "work"; }
  void Restore() {
    fs::remove_all(Work());
    fs::copy(folder_ / "before", Work(), fs::copy_options::recursive);
  }

  absl::Status Build(const fs::path& folder) {
    return BuildCorpus(folder, TestKey(), {.shards = 2, .slices = 2},
                       InputOf(folder_ / "in", kVocabSize))
        .status();
  }
  absl::Status Append() {
    return AppendToCorpus(Work(), TestKey(), InputOf(folder_ / "late", kVocabSize)).status();
  }
  absl::Status Erase() {
    return EraseFromCorpus(Work(), TestKey(), {.subjects = {kSubject}}).status();
  }
  Expected Appended() const {
    Expected expected = before_;
    expected.Add(late_);
    return expected;
  }
  Expected Erased() const {
    Expected expected = before_;
    expected.Erase([](const auto& e) { return e.line.subject == kSubject; });
    return expected;
  }

  // The state is one of the two, whole. Says whether it is the later one.
  bool ExpectOneOf(const Expected& earlier, const Expected& later) {
    const auto corpus = Corpus::Open(Work(), TestKey());
    EXPECT_TRUE(corpus.ok()) << corpus.status();
    if (!corpus.ok()) return false;
    const bool is_later = corpus->sequences() == later.entries.size();
    ExpectHolds(*corpus, is_later ? later : earlier);
    return is_later;
  }
  void ExpectNoOtherFiles() {
    const auto manifest = ReadManifest(Work());
    ASSERT_TRUE(manifest.ok()) << manifest.status();
    const auto count = std::distance(fs::directory_iterator(Work()), fs::directory_iterator());
    EXPECT_EQ(count, static_cast<int64_t>(manifest->files.size()) + 2);
  }

  TempFolder folder_;
  std::vector<MadeLine> lines_, late_;
  std::vector<std::string> traces_;
  Expected before_;
};

TEST_F(FaultTest, AnErasedPersonIsInNoFile) {
  Restore();
  ASSERT_TRUE(Erase().ok());
  EXPECT_EQ(CountTraces(Work(), traces_), 0);
  ExpectNoOtherFiles();
  ASSERT_TRUE(Append().ok());  // the last slices once more
  EXPECT_EQ(CountTraces(Work(), traces_), 0);
  ExpectSound(Work());
}

TEST_F(FaultTest, ABuildKilledAtAnyStepIsNoCorpusAndMayBeDoneAgain) {
  int64_t n = 1;
  bool seen_whole = false;
  for (;; ++n) {
    fs::remove_all(Work());
    const int end = InChild([&] {
      FileFaults::KillAt(n);
      return Build(Work()).ok();
    });
    if (end != FileFaults::kKilled) {
      EXPECT_EQ(end, 0);
      break;
    }
    const auto corpus = Corpus::Open(Work(), TestKey());
    if (corpus.ok()) {  // killed behind the switch
      ExpectHolds(*corpus, before_);
      EXPECT_EQ(ErrorReason(Build(Work())), "CORPUS_EXISTS");
      seen_whole = true;
    } else {
      EXPECT_FALSE(seen_whole) << n;
      EXPECT_EQ(ErrorReason(corpus.status()), "CORPUS_MISSING") << n;
      const absl::Status again = Build(Work());
      ASSERT_TRUE(again.ok()) << n << ": " << again;
    }
    ExpectHolds(*Corpus::Open(Work(), TestKey()), before_);
    ExpectNoOtherFiles();
    if (HasFailure()) FAIL() << "killed at operation " << n;
  }
  EXPECT_GT(n, 15);
  EXPECT_TRUE(seen_whole);
}

TEST_F(FaultTest, AnEraseKilledAtAnyStepIsDoneOrNotAndDoingItAgainFinishes) {
  int64_t n = 1;
  int earlier = 0, later = 0;
  for (;; ++n) {
    Restore();
    const int end = InChild([&] {
      FileFaults::KillAt(n);
      return Erase().ok();
    });
    if (end != FileFaults::kKilled) {
      EXPECT_EQ(end, 0);
      break;
    }
    (ExpectOneOf(before_, Erased()) ? later : earlier) += 1;
    ASSERT_TRUE(Erase().ok()) << n;
    EXPECT_EQ(CountTraces(Work(), traces_), 0) << n;
    ExpectHolds(*Corpus::Open(Work(), TestKey()), Erased());
    ExpectNoOtherFiles();
    ExpectSound(Work());
    if (HasFailure()) FAIL() << "killed at operation " << n;
  }
  EXPECT_GT(earlier, 8);
  EXPECT_GT(later, 2);  // the sync of the folder, the old files
}

TEST_F(FaultTest, AnAppendKilledAtAnyStepIsDoneOrNot) {
  int64_t n = 1;
  int earlier = 0, later = 0;
  for (;; ++n) {
    Restore();
    const int end = InChild([&] {
      FileFaults::KillAt(n);
      return Append().ok();
    });
    if (end != FileFaults::kKilled) {
      EXPECT_EQ(end, 0);
      break;
    }
    if (ExpectOneOf(before_, Appended())) {
      ++later;
      ASSERT_TRUE(SweepCorpus(Work()).ok());
    } else {
      ++earlier;
      ASSERT_TRUE(Append().ok()) << n;
    }
    ExpectHolds(*Corpus::Open(Work(), TestKey()), Appended());
    ExpectNoOtherFiles();
    if (HasFailure()) FAIL() << "killed at operation " << n;
  }
  EXPECT_GT(earlier, 8);
  EXPECT_GT(later, 2);
}

// Once, and from then on: what is full stays full.
class FailingDiskTest : public FaultTest, public testing::WithParamInterface<bool> {};

TEST_P(FailingDiskTest, LeavesOneStateOrTheOtherAndSaysSo) {
  for (const bool erase : {true, false}) {
    const Expected after = erase ? Erased() : Appended();
    for (int64_t n = 1;; ++n) {
      Restore();
      FileFaults::FailAt(n, ENOSPC, GetParam());
      const absl::Status status = erase ? Erase() : Append();
      FileFaults::Stop();
      const bool is_later = ExpectOneOf(before_, after);
      if (status.ok()) {
        EXPECT_TRUE(is_later);
        ExpectNoOtherFiles();
        EXPECT_GT(n, 12);
        break;  // n is behind the last operation
      }
      EXPECT_EQ(ErrorReason(status), "DISK_FULL") << status;
      if (is_later) {
        ASSERT_TRUE(SweepCorpus(Work()).ok());
      } else {
        ASSERT_TRUE((erase ? Erase() : Append()).ok());
      }
      ExpectHolds(*Corpus::Open(Work(), TestKey()), after);
      ExpectNoOtherFiles();
      if (erase) {
        EXPECT_EQ(CountTraces(Work(), traces_), 0);
      }
      if (HasFailure()) FAIL() << "operation " << n << (erase ? " of erase" : " of append");
    }
  }
}
INSTANTIATE_TEST_SUITE_P(OnceAndForEver, FailingDiskTest, testing::Bool());

TEST_F(FaultTest, ABuildOnAFailingDiskLeavesNothing) {
  for (int64_t n = 1;; ++n) {
    FileFaults::FailAt(n, ENOSPC);
    const absl::Status status = Build(Work());
    FileFaults::Stop();
    if (status.ok()) break;
    EXPECT_EQ(ErrorReason(status), "DISK_FULL") << status;
    const auto corpus = Corpus::Open(Work(), TestKey());
    if (corpus.ok()) {
      ExpectHolds(*corpus, before_);
    } else {
      ASSERT_TRUE(Build(Work()).ok()) << n;
    }
    ExpectNoOtherFiles();
    fs::remove_all(Work());
  }
}

// What a power cut needs: files before the folder that names them, both before the manifest that
// counts on them, the switch before the old files go.
TEST_F(FaultTest, WhatTheManifestNamesIsSyncedBeforeItNamesIt) {
  Restore();
  std::vector<std::string> operations;
  FileFaults::Record(&operations);
  const absl::Status status = Erase();
  FileFaults::Stop();
  ASSERT_TRUE(status.ok());
  const auto position = [&](const std::string& operation, size_t from = 0) {
    const auto found =
        std::find(operations.begin() + static_cast<ptrdiff_t>(from), operations.end(), operation);
    EXPECT_NE(found, operations.end()) << operation;
    return static_cast<size_t>(found - operations.begin());
  };
  const std::string folder = Work().string();
  const size_t renamed = position("rename " + folder + "/manifest.json");
  const size_t folder_synced = position("fsync " + folder);
  EXPECT_LT(folder_synced, renamed);
  int made = 0, gone = 0;
  for (size_t i = 0; i < operations.size(); ++i) {
    const std::string& operation = operations[i];
    if (operation.starts_with("open ") && operation.ends_with(".slice")) {
      ++made;
      EXPECT_LT(i, folder_synced);
      EXPECT_LT(position("fsync " + operation.substr(5)), folder_synced);
    }
    if (operation.starts_with("unlink ") && operation.ends_with(".slice")) {
      ++gone;
      EXPECT_GT(i, position("fsync " + folder, renamed)) << "the switch is on the disk first";
    }
  }
  EXPECT_EQ(made, gone);
  EXPECT_GT(made, 0);
  EXPECT_EQ(operations.back(), "fsync " + folder);
}

}  // namespace
}  // namespace lethe
