// Teachers that were trained elsewhere: what their manifest says of them, held against a corpus.
#include "engine/teacher_manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "engine/ensemble.h"
#include "tests/corpus/made_corpus.h"
#include "tests/engine/attack/made_tokenizer.h"
#include "tests/engine/ensemble/member_folders.h"
#include "tests/support/test_folders.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr int32_t kVocabulary = 48;

// Sixteen people, each with two documents of 40 random tokens, d-0 to d-31; two shards.
class TeacherManifestTest : public testing::Test {
 protected:
  TeacherManifestTest() {
    std::mt19937_64 random(5);
    for (int i = 0; i < 32; ++i) {
      MadeLine& line = lines_.emplace_back();
      for (int t = 0; t < 40; ++t) {
        line.sequence.ids.push_back(static_cast<int32_t>(random() % kVocabulary));
      }
      line.subject = "person-" + std::to_string(i / 2);
      line.document = "d-" + std::to_string(i);
    }
    for (size_t m = 0; m < 3; ++m) {
      MakeMember(folder_ / ("teacher-" + std::to_string(m)), m, m, kVocabulary, "");
    }
  }

  void Build() {
    const auto built =
        BuildCorpus(folder_ / "corpus", TestKey(), {.shards = 2, .slices = 2},
                    InputOf(WriteLines(folder_ / "lines.jsonl", lines_), kVocabulary));
    ASSERT_TRUE(built.ok()) << built.status();
  }
  Corpus Open() {
    if (!fs::exists(folder_ / "corpus")) Build();
    return *Corpus::Open(folder_ / "corpus", TestKey());
  }
  // What a teacher saw. Spelled out: nlohmann's braces mean now a list, now an object.
  static Json Part(const char* name, Json value) {
    Json saw = Json::object();
    saw[name] = std::move(value);
    return saw;
  }
  static Json Documents(std::vector<std::string> keys) { return Part("documents", Json(keys)); }
  static Json Shards(std::vector<int> shards) { return Part("shards", Json(shards)); }
  static Json File(const std::string& name) { return Part("documents_file", name); }
  static Json Teacher(const std::string& folder, Json saw) {
    return {{"folder", folder}, {"saw", std::move(saw)}};
  }
  fs::path Write(const std::vector<Json>& teachers) {
    std::ofstream(folder_ / "teachers.json") << Part("teachers", Json(teachers)).dump(2);
    return folder_ / "teachers.json";
  }
  // What reading a manifest of one teacher says, or of these.
  absl::Status Of(const Json& saw) { return OfAll({Teacher("teacher-0", saw)}); }
  absl::Status OfAll(const std::vector<Json>& teachers) {
    return TeacherManifest::Read(Write(teachers), Open()).status();
  }
  std::vector<lethe::Teacher> Saw(const std::vector<Json>& teachers,
                                  const std::vector<Sequence>& forget) {
    const Corpus corpus = Open();
    const auto manifest = TeacherManifest::Read(Write(teachers), corpus);
    EXPECT_TRUE(manifest.ok()) << manifest.status();
    const auto saw = manifest->TeachersFor(corpus, forget);
    EXPECT_TRUE(saw.ok()) << saw.status();
    return *saw;
  }

  const fs::path folder_ = FreshFolder();
  std::vector<MadeLine> lines_;
};

TEST_F(TeacherManifestTest, SaysWhoSawWhat) {
  std::ofstream(folder_ / "list.txt") << "d-4\r\nd-5\nd-31\n";
  const std::vector<Json> teachers = {Teacher("teacher-0", Documents({"d-0", "d-4"})),
                                      Teacher("teacher-1", File("list.txt")),
                                      Teacher("teacher-2", Shards({1}))};
  const std::vector<Sequence> forget = {lines_[4].sequence, lines_[31].sequence, lines_[0].sequence,
                                        lines_[9].sequence,
                                        Sequence{.ids = std::vector<int32_t>(30, 3)}};
  const auto saw = Saw(teachers, forget);
  ASSERT_EQ(saw.size(), 3U);
  EXPECT_EQ(saw[1].folder, folder_ / "teacher-1");
  EXPECT_THAT(saw[0].saw, ElementsAre(0, 2));
  EXPECT_THAT(saw[1].saw, ElementsAre(0, 1));
  std::vector<size_t> in_shard_1;
  for (const size_t i : {0, 1, 2, 3}) {
    const int line[] = {4, 31, 0, 9};
    if (ShardOf(TestKey().OfSubject(lines_[line[i]].subject), 2) == 1) in_shard_1.push_back(i);
  }
  EXPECT_EQ(saw[2].saw, in_shard_1);
  EXPECT_THAT(in_shard_1, Not(IsEmpty()));
}

// d-20 is a copy of d-6 but for one token, in another person's name: who saw the copy saw d-6 too.
TEST_F(TeacherManifestTest, ACopyInAnotherDocumentCounts) {
  lines_[20].sequence = lines_[6].sequence;
  lines_[20].sequence.ids[38] = (lines_[20].sequence.ids[38] + 1) % kVocabulary;
  const auto saw =
      Saw({Teacher("teacher-0", Documents({"d-20"})), Teacher("teacher-1", Documents({"d-21"}))},
          {lines_[6].sequence});
  EXPECT_THAT(saw[0].saw, ElementsAre(0));
  EXPECT_THAT(saw[1].saw, IsEmpty());
}

TEST_F(TeacherManifestTest, WhatContradictsTheCorpusIsRefused) {
  const auto reason = [&](const Json& saw) { return ErrorReason(Of(saw)); };
  const absl::Status unknown = OfAll({Teacher("teacher-0", Documents({"d-0"})),
                                      Teacher("teacher-1", Documents({"d-1", "secret-7"}))});
  EXPECT_EQ(ErrorReason(unknown), "DOCUMENT_UNKNOWN");
  EXPECT_EQ(ErrorDetails(unknown)["teacher"], "1");
  EXPECT_EQ(ErrorDetails(unknown)["document"], "1");
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("teachers.json: teacher 1: document 1"));
  EXPECT_THAT(std::string(unknown.message()), Not(HasSubstr("secret")));

  std::ofstream(folder_ / "list.txt") << "d-4\nd-5\nd-99\n";
  const absl::Status of_file = Of(File("list.txt"));
  EXPECT_EQ(ErrorReason(of_file), "DOCUMENT_UNKNOWN");
  EXPECT_EQ(ErrorDetails(of_file)["line"], "3");

  const absl::Status no_shard = Of(Shards({0, 2}));
  EXPECT_EQ(ErrorReason(no_shard), "SHARD_UNKNOWN");
  EXPECT_EQ(ErrorDetails(no_shard)["shard"], "2");

  EXPECT_EQ(reason(Documents({})), "TEACHER_SAW_NOTHING");
  EXPECT_EQ(reason(Shards({})), "TEACHER_SAW_NOTHING");
  std::ofstream(folder_ / "empty.txt").close();
  EXPECT_EQ(reason(File("empty.txt")), "TEACHER_SAW_NOTHING");
  EXPECT_EQ(reason(File("absent.txt")), "FILE_ERROR");
  EXPECT_EQ(reason(Documents({"d-1", "d-1"})), "BAD_TEACHER_MANIFEST");
  EXPECT_EQ(reason(Shards({1, 1})), "BAD_TEACHER_MANIFEST");
}

// What was erased is in the teacher still, so its list cannot stay as it was.
TEST_F(TeacherManifestTest, ADocumentThatWasErasedSinceIsUnknown) {
  EXPECT_TRUE(Of(Documents({"d-2", "d-3"})).ok());
  ASSERT_TRUE(EraseFromCorpus(folder_ / "corpus", TestKey(), {.documents = {"d-3"}}).ok());
  const absl::Status status = Of(Documents({"d-2", "d-3"}));
  EXPECT_EQ(ErrorReason(status), "DOCUMENT_UNKNOWN");
  EXPECT_THAT(std::string(status.message()), HasSubstr("knows it still"));
}

TEST_F(TeacherManifestTest, WhatIsNotOfTheFormIsRefused) {
  Open();
  const auto reason = [&](const Json& teacher) { return ErrorReason(OfAll({teacher})); };
  const Json shards = Shards({0});
  EXPECT_EQ(ErrorReason(OfAll({})), "BAD_TEACHER_MANIFEST");
  Json both = Shards({0}), extra = Teacher("teacher-0", shards);
  both["documents"] = {"d-0"};
  extra["weight"] = 2;
  for (const Json& teacher :
       {Json(3), Part("folder", "teacher-0"), Part("saw", shards), Teacher("teacher-0", both),
        extra, Teacher("", shards), Teacher("teacher-0", Part("people", Json::array({"person-1"}))),
        Teacher("teacher-0", Shards({-1})),
        Teacher("teacher-0", Part("documents", Json::array({7}))),
        Teacher("teacher-0", Part("shards", "all"))}) {
    EXPECT_EQ(reason(teacher), "BAD_TEACHER_MANIFEST") << teacher;
  }
  std::ofstream(folder_ / "teachers.json") << "{\"teachers\": [\n  {\"folder\": \"a\",\n   oops}]}";
  const absl::Status broken = TeacherManifest::Read(folder_ / "teachers.json", Open()).status();
  EXPECT_EQ(ErrorReason(broken), "BAD_TEACHER_MANIFEST");
  EXPECT_THAT(std::string(broken.message()), HasSubstr("teachers.json:3:"));
  EXPECT_EQ(TeacherManifest::Read(folder_ / "absent.json", Open()).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(TeacherManifestTest, AFolderThatIsNoSuchModelIsRefused) {
  Open();
  const Json saw = Shards({0}), other = Shards({1});
  const auto of = [&](const char* folder) {
    const absl::Status status = OfAll({Teacher("teacher-0", other), Teacher(folder, saw)});
    EXPECT_EQ(ErrorDetails(status)["teacher"], "1") << status;
    return ErrorReason(status);
  };
  EXPECT_EQ(of("nowhere"), "FILE_ERROR");
  fs::create_directory(folder_ / "empty");
  EXPECT_EQ(of("empty"), "FILE_ERROR");
  fs::copy(folder_ / "teacher-1", folder_ / "cut");
  fs::resize_file(folder_ / "cut" / "model.safetensors", 100);
  EXPECT_EQ(of("cut"), "BAD_CHECKPOINT");
  MakeMember(folder_ / "small", 0, 9, kVocabulary - 1, "");
  EXPECT_EQ(of("small"), "TEACHER_VOCABULARY_DIFFERS");
  EXPECT_EQ(of("teacher-0"), "TEACHER_TWICE");
  fs::create_directory_symlink(folder_ / "teacher-0", folder_ / "link");
  EXPECT_EQ(of("link"), "TEACHER_TWICE");
  ASSERT_TRUE(
      MakeEnsemble({.members = {folder_ / "teacher-1"}, .out_folder = folder_ / "mean"}).ok());
  EXPECT_EQ(of("mean"), "MODEL_IS_ENSEMBLE");

  Json claimed = Teacher("teacher-1", saw);
  claimed["digest"] = *FolderDigest(folder_ / "teacher-1");
  EXPECT_TRUE(OfAll({claimed}).ok());
  claimed["digest"] = *FolderDigest(folder_ / "teacher-2");
  EXPECT_EQ(ErrorReason(OfAll({claimed})), "TEACHER_CHANGED");
}

TEST_F(TeacherManifestTest, AnotherTokenizerIsRefused) {
  std::ofstream(folder_ / "text.jsonl")
      << R"({"text": "Jane Doe lives in Turin.", "subject": "p", "document": "d"})"
      << "\n";
  const auto built =
      BuildCorpus(folder_ / "corpus", TestKey(), {.shards = 1, .slices = 1},
                  {.files = {folder_ / "text.jsonl"}, .tokenizer = &MadeTokenizer()});
  ASSERT_TRUE(built.ok()) << built.status();
  const Json saw = Shards({0});
  MakeMember(folder_ / "none", 0, 1, kMadeVocabulary, "");
  MakeMember(folder_ / "other", 1, 2, kMadeVocabulary, "{\"another\": 1}");
  for (const char* folder : {"none", "other"}) {
    const absl::Status status = OfAll({Teacher(folder, saw)});
    EXPECT_EQ(ErrorReason(status), "TOKENIZER_DIFFERS") << status;
    EXPECT_EQ(ErrorDetails(status)["expected"], MadeTokenizer().Digest());
  }
}

}  // namespace
}  // namespace lethe
