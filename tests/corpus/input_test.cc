// Bad input is refused with file, line and reason; it quotes nothing, and leaves nothing behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status.h"
#include "corpus/corpus_folder.h"
#include "tests/corpus/made_corpus.h"
#include "tests/support/temp_folder.h"
#include "text/tokenizer.h"

namespace lethe {
namespace {

using testing::HasSubstr;

class CorpusInputTest : public testing::Test {
 protected:
  std::filesystem::path Write(const std::string& name, const std::string& content) {
    std::ofstream(folder_ / name, std::ios::binary) << content;
    return folder_ / name;
  }
  std::filesystem::path Folder() const { return folder_ / "corpus"; }

  // The refusal of a build of these files, which must have left nothing.
  absl::Status BuildOf(std::vector<std::filesystem::path> files, CorpusOptions options = {}) {
    CorpusInput input{.files = std::move(files)};
    input.limits.vocab_size = 100;
    const absl::Status status = BuildCorpus(Folder(), TestKey(), options, input).status();
    EXPECT_FALSE(std::filesystem::exists(Folder())) << status;
    EXPECT_EQ(status.message().find("secret"), absl::string_view::npos) << status;
    return status;
  }

  TempFolder folder_;
};

const char kGood[] = R"({"ids": [1, 2, 3], "subject": "secret-1", "document": "secret-d1"})"
                     "\n";

struct BadLine {
  const char* reason;
  std::string line;
};

class BadLineTest : public CorpusInputTest, public testing::WithParamInterface<BadLine> {};

TEST_P(BadLineTest, IsRefusedByABuildWithItsPlace) {
  const absl::Status status =
      BuildOf({Write("a.jsonl", kGood), Write("b.jsonl", "\n" + GetParam().line + "\n")});
  EXPECT_EQ(ErrorReason(status), GetParam().reason);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/b.jsonl:2: "));
  EXPECT_EQ(ErrorDetails(status)["line"], "2");
  EXPECT_EQ(ErrorDetails(status)["source"], "1");
}

TEST_P(BadLineTest, IsRefusedByAnAppendAndNothingChanges) {
  ASSERT_TRUE(BuildCorpus(Folder(), TestKey(), {}, InputOf(Write("a", kGood), 100)).ok());
  const std::string before = BytesOf(Folder() / kManifestName);
  const absl::Status status = AppendToCorpus(Folder(), TestKey(),
                                             InputOf(Write("b", R"({"ids": [4, 5], "subject": "p"})"
                                                                "\n" +
                                                                    GetParam().line),
                                                     100))
                                  .status();
  EXPECT_EQ(ErrorReason(status), GetParam().reason);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/b:2: "));
  EXPECT_EQ(BytesOf(Folder() / kManifestName), before);
  ExpectSound(Folder());
}

INSTANTIATE_TEST_SUITE_P(
    Lines, BadLineTest,
    testing::Values(BadLine{"LINE_MALFORMED", R"({"ids": [1, 2], "subject": "secret")"},
                    BadLine{"LINE_MALFORMED", R"(["secret"])"},
                    BadLine{"LINE_MALFORMED", R"({"ids": ["secret"], "subject": "s"})"},
                    BadLine{"LINE_MALFORMED", R"({"ids": [1, 2], "subject": "s", "secret": 1})"},
                    BadLine{"LINE_MALFORMED", R"({"subject": "secret"})"},
                    BadLine{"LINE_MALFORMED", "{\"subject\": \"secret\xff\", \"ids\": [1, 2]}"},
                    BadLine{"SUBJECT_MISSING", R"({"ids": [1, 2], "document": "secret"})"},
                    BadLine{"KEY_INVALID", R"({"ids": [1, 2], "subject": ["secret"]})"},
                    BadLine{"TOKEN_OUT_OF_VOCABULARY", R"({"ids": [1, 100], "subject": "secret"})"},
                    BadLine{"TOKEN_OUT_OF_VOCABULARY", R"({"ids": [-1, 2], "subject": "secret"})"},
                    BadLine{"TARGET_TOO_SHORT", R"({"ids": [1], "subject": "secret"})"},
                    BadLine{"SPAN_OUT_OF_RANGE",
                            R"({"ids": [1, 2], "subject": "secret", "sensitive_spans": [[1, 3]]})"},
                    BadLine{"PROMPT_OUT_OF_RANGE",
                            R"({"ids": [1, 2], "subject": "s", "prompt_tokens": 2})"},
                    BadLine{"TOKENIZER_NEEDED", R"({"text": "secret", "subject": "secret"})"},
                    BadLine{"DOCUMENT_REPEATED",
                            R"({"ids": [7, 8], "subject": "secret-2", "document": "secret-d1"})"}));

TEST_F(CorpusInputTest, NamesBothLinesOfARepeatedDocument) {
  std::string lines;
  for (int i = 0; i < 50; ++i) {
    const int document = i == 30 ? 4 : i == 40 ? 2 : i;
    lines += R"({"ids": [1, 2], "subject": "s", "document": "secret)" + std::to_string(document) +
             "\"}\n\n";
  }
  const absl::Status status = BuildOf({Write("a", lines)});
  EXPECT_EQ(ErrorReason(status), "DOCUMENT_REPEATED");
  EXPECT_THAT(std::string(status.message()), HasSubstr("/a:61: its document is that of "));
  EXPECT_THAT(std::string(status.message()), HasSubstr("/a:9 too"));
  EXPECT_EQ(ErrorDetails(status)["line"], "61");
  EXPECT_EQ(ErrorDetails(status)["source"], "0");
}

TEST_F(CorpusInputTest, AnErasedDocumentMayComeAgain) {
  ASSERT_TRUE(BuildCorpus(Folder(), TestKey(), {}, InputOf(Write("a", kGood), 100)).ok());
  ASSERT_TRUE(EraseFromCorpus(Folder(), TestKey(), {.documents = {"secret-d1"}}).ok());
  EXPECT_TRUE(AppendToCorpus(Folder(), TestKey(), InputOf(folder_ / "a", 100)).ok());
}

TEST_F(CorpusInputTest, RefusesOptionsAndFilesThatCannotBe) {
  const auto good = Write("a", kGood);
  EXPECT_EQ(ErrorReason(BuildOf({good}, {.shards = 0})), "CORPUS_OPTIONS_INVALID");
  EXPECT_EQ(ErrorReason(BuildOf({good}, {.slices = 257})), "CORPUS_OPTIONS_INVALID");
  EXPECT_EQ(ErrorReason(BuildOf({good}, {.shards = 256, .slices = 17})), "CORPUS_OPTIONS_INVALID");
  EXPECT_EQ(ErrorReason(BuildOf({good}, {.grams = {0, 5}})), "CORPUS_OPTIONS_INVALID");
  EXPECT_EQ(ErrorReason(BuildOf({good, folder_ / "none"})), "FILE_ERROR");
  EXPECT_EQ(ErrorReason(BuildCorpus(Folder(), TestKey(), {}, {.files = {good}}).status()),
            "VOCABULARY_NEEDED");
}

TEST_F(CorpusInputTest, BuildsOverNothingThatIsThere) {
  const CorpusInput input = InputOf(Write("a", kGood), 100);
  EXPECT_EQ(ErrorReason(BuildCorpus(folder_.path(), TestKey(), {}, input).status()),
            "FOLDER_NOT_EMPTY");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "lock"));
  ASSERT_TRUE(BuildCorpus(Folder(), TestKey(), {}, input).ok());
  EXPECT_EQ(ErrorReason(BuildCorpus(Folder(), TestKey(), {}, input).status()), "CORPUS_EXISTS");
  ExpectSound(Folder());
}

TEST_F(CorpusInputTest, TextIsTokenisedAndTheTokenizerMustStayTheSame) {
  const Tokenizer tokenizer =
      *Tokenizer::FromJson(*TrainBpe(std::vector<std::string>{"ab"}, {257, {"<b>"}, "<b>"}));
  const Tokenizer other =
      *Tokenizer::FromJson(*TrainBpe(std::vector<std::string>{"ab"}, {257, {"<c>"}, "<c>"}));
  CorpusInput input{
      .files = {Write("a", R"({"text": "tel 41 7", "subject": "s", "sensitive_spans": [[4, 6]]})"
                           "\n"
                           R"({"prompt": "Q? ", "answer": "7 yes", "subject": "s"})")},
      .tokenizer = &tokenizer};
  ASSERT_TRUE(BuildCorpus(Folder(), TestKey(), {}, input).ok());
  const Corpus corpus = *Corpus::Open(Folder(), TestKey());
  EXPECT_EQ((*corpus.Get({0}))->stored.sequence,
            *SequenceFromText(tokenizer, "tel 41 7", std::vector<Span>{{4, 6}}));
  EXPECT_EQ((*corpus.Get({1}))->stored.sequence,
            *SequenceFromPrompt(tokenizer, "Q? ", "7 yes", {}));
  EXPECT_EQ(corpus.manifest().tokenizer_digest, tokenizer.Digest());
  EXPECT_TRUE(AppendToCorpus(Folder(), TestKey(), input).ok());
  input.tokenizer = &other;
  EXPECT_EQ(ErrorReason(AppendToCorpus(Folder(), TestKey(), input).status()), "TOKENIZER_DIFFERS");
  input.tokenizer = nullptr;
  EXPECT_EQ(ErrorReason(AppendToCorpus(Folder(), TestKey(), input).status()), "TOKENIZER_NEEDED");
  input.limits.vocab_size = 5;
  EXPECT_EQ(ErrorReason(AppendToCorpus(Folder(), TestKey(), input).status()), "TOKENIZER_DIFFERS");
}

TEST_F(CorpusInputTest, ProgressIsToldAndMayGiveUpLeavingNothing) {
  LineMaker maker(1, 100, 10);
  const auto file = WriteLines(folder_ / "a", maker.Take(3000));
  std::vector<CorpusProgress> told;
  ASSERT_TRUE(BuildCorpus(folder_ / "whole", TestKey(), {}, InputOf(file, 100),
                          [&](const CorpusProgress& p) {
                            told.push_back(p);
                            return true;
                          })
                  .ok());
  ASSERT_EQ(told.size(), 4u);
  EXPECT_EQ(told[1].sequences, 2048u);
  EXPECT_EQ(std::string(told[1].phase), "read");
  EXPECT_EQ(told[1].of_bytes, std::filesystem::file_size(file));
  EXPECT_LT(told[1].bytes, told[1].of_bytes);
  EXPECT_EQ(std::string(told[3].phase), "write");
  for (size_t give_up_at = 1; give_up_at <= told.size(); ++give_up_at) {
    size_t calls = 0;
    const auto given_up = BuildCorpus(Folder(), TestKey(), {}, InputOf(file, 100),
                                      [&](const CorpusProgress&) { return ++calls < give_up_at; });
    EXPECT_TRUE(absl::IsCancelled(given_up.status()));
    EXPECT_FALSE(std::filesystem::exists(Folder()));
  }
}

TEST_F(CorpusInputTest, OneWriterAtATime) {
  const CorpusInput input = InputOf(Write("a", kGood), 100);
  ASSERT_TRUE(BuildCorpus(Folder(), TestKey(), {}, input).ok());
  const auto lock = LockCorpus(Folder());
  ASSERT_TRUE(lock.ok());
  EXPECT_EQ(ErrorReason(AppendToCorpus(Folder(), TestKey(), input).status()), "CORPUS_BUSY");
  EXPECT_EQ(ErrorReason(EraseFromCorpus(Folder(), TestKey(), {}).status()), "CORPUS_BUSY");
  EXPECT_EQ(ErrorReason(SweepCorpus(Folder())), "CORPUS_BUSY");
  EXPECT_TRUE(Corpus::Open(Folder(), TestKey()).ok()) << "readers need no lock";
}

}  // namespace
}  // namespace lethe
