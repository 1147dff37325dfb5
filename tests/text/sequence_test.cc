#include "text/sequence.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/status.h"
#include "tests/support/testdata.h"
#include "text/tokenizer.h"

namespace lethe {
namespace {
namespace fs = std::filesystem;

// A BPE without a single merge: one token a byte, so that positions can be counted by hand.
const Tokenizer& ByteTokenizer() {
  static const Tokenizer* tokenizer = new Tokenizer(
      *Tokenizer::FromJson(*TrainBpe(std::vector<std::string>{"ab"}, {257, {"<b>"}, "<b>"})));
  return *tokenizer;
}

TEST(Sequence, TextGivesOneIdAByteAndSpansFollow) {
  const std::vector<Span> bytes = {{4, 6}, {7, 8}};
  const Sequence s = *SequenceFromText(ByteTokenizer(), "tel:41 7", bytes);
  EXPECT_EQ(s.ids.size(), 8u);
  EXPECT_EQ(s.prompt_tokens, 0);
  EXPECT_EQ(s.sensitive, (std::vector<Span>{{4, 6}, {7, 8}}));
  SequenceLimits special;
  special.add_special = true;
  const Sequence shifted = *SequenceFromText(ByteTokenizer(), "tel:41 7", bytes, special);
  EXPECT_EQ(shifted.ids.size(), 9u);
  EXPECT_EQ(shifted.ids[0], 0);
  EXPECT_EQ(shifted.sensitive, (std::vector<Span>{{5, 7}, {8, 9}}));
}

TEST(Sequence, SpanInsideACharacterTakesItsTokens) {
  const Sequence s = *SequenceFromText(ByteTokenizer(), "a\u00e9b", std::vector<Span>{{1, 3}});
  EXPECT_EQ(s.ids.size(), 4u);
  EXPECT_EQ(s.sensitive, (std::vector<Span>{{1, 3}}));
}

TEST(Sequence, PromptIsContextAndAnswerSpansCountFromTheAnswer) {
  const Sequence s =
      *SequenceFromPrompt(ByteTokenizer(), "Q? ", "7 yes", std::vector<Span>{{0, 1}});
  EXPECT_EQ(s.ids.size(), 8u);
  EXPECT_EQ(s.prompt_tokens, 3);
  EXPECT_EQ(s.sensitive, (std::vector<Span>{{3, 4}}));
}

TEST(Sequence, TokenAcrossTheBorderBelongsToTheAnswer) {
  // "Ġyes" becomes one token, and the prompt ends with its space.
  std::vector<std::string> corpus(10, "is it yes yes yes");
  const Tokenizer tokenizer = *Tokenizer::FromJson(*TrainBpe(corpus, {300, {}, ""}));
  ASSERT_TRUE(tokenizer.TokenToId("\u0120yes").has_value());
  const Sequence s = *SequenceFromPrompt(tokenizer, "Q? ", "yes", {});
  EXPECT_EQ(s.ids, *tokenizer.Encode("Q? yes", false));
  EXPECT_EQ(s.prompt_tokens, static_cast<int32_t>(s.ids.size()) - 1);
  EXPECT_EQ(s.ids.back(), *tokenizer.TokenToId("\u0120yes"));
}

TEST(Sequence, NeighbouringSpansInOneTokenAreJoined) {
  std::vector<std::string> corpus(10, "yes yes yes");
  const Tokenizer tokenizer = *Tokenizer::FromJson(*TrainBpe(corpus, {300, {}, ""}));
  const Sequence s = *SequenceFromText(tokenizer, "no yes", std::vector<Span>{{3, 4}, {5, 6}});
  EXPECT_EQ(s.sensitive.size(), 1u);
  EXPECT_EQ(s.sensitive[0].end - s.sensitive[0].begin, 1);
}

struct BadCase {
  std::string text;
  std::vector<Span> spans;
  std::string reason;
};

TEST(Sequence, BadTextIsRefusedByName) {
  const std::vector<BadCase> cases = {
      {"", {}, "TARGET_EMPTY"},
      {"a", {}, "TARGET_TOO_SHORT"},
      {"a\xFF", {}, "TEXT_NOT_UTF8"},
      {"abcdefghijk", {}, "TARGET_TOO_LONG"},
      {"abc", {{0, 4}}, "SPAN_OUT_OF_RANGE"},
      {"abc", {{-1, 2}}, "SPAN_OUT_OF_RANGE"},
      {"abc", {{1, 1}}, "SPAN_OUT_OF_RANGE"},
      {"abc", {{2, 1}}, "SPAN_OUT_OF_RANGE"},
      {"abc", {{0, 2}, {1, 3}}, "SPAN_OUT_OF_RANGE"},
      {"abc", {{2, 3}, {0, 1}}, "SPAN_OUT_OF_RANGE"},
  };
  SequenceLimits limits;
  limits.max_tokens = 10;
  for (const BadCase& bad : cases) {
    const absl::Status status =
        SequenceFromText(ByteTokenizer(), bad.text, bad.spans, limits).status();
    EXPECT_EQ(ErrorReason(status), bad.reason) << bad.text;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(ErrorReason(SequenceFromPrompt(ByteTokenizer(), "Q", "", {}).status()),
            "PROMPT_WITHOUT_ANSWER");
  EXPECT_EQ(ErrorReason(SequenceFromPrompt(ByteTokenizer(), "", "A", {}).status()),
            "ANSWER_WITHOUT_PROMPT");
  EXPECT_EQ(ErrorReason(SequenceFromPrompt(ByteTokenizer(), "", "", {}).status()), "TARGET_EMPTY");
  limits.vocab_size = 50;
  EXPECT_EQ(ErrorReason(SequenceFromText(ByteTokenizer(), "zz", {}, limits).status()),
            "TOKEN_OUT_OF_VOCABULARY");
}

fs::path Lines(const std::string& content) {
  const fs::path file = FreshFolder() / "lines.jsonl";
  EXPECT_TRUE(WriteFileAtomically(file, content).ok());
  return file;
}

TEST(LoadSequences, ReadsEveryFormAndWritesThemBack) {
  const fs::path file = Lines(
      "\xEF\xBB\xBF{\"text\": \"tel:41\", \"sensitive_spans\": [[4, 6]]}\r\n"
      "\n   \n"
      "{\"prompt\": \"Q?\", \"answer\": \"7\"}\n"
      "{\"ids\": [5, 8, 13, 21], \"prompt_tokens\": 1, \"sensitive_spans\": [[1, 2], [3, 4]]}\n"
      "{\"ids\": [1, 2]}");  // no newline at the end
  auto loaded = LoadSequences(file, &ByteTokenizer());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  ASSERT_EQ(loaded->size(), 4u);
  EXPECT_EQ((*loaded)[0].sensitive, (std::vector<Span>{{4, 6}}));
  EXPECT_EQ((*loaded)[1].prompt_tokens, 2);
  EXPECT_EQ((*loaded)[2], (Sequence{{5, 8, 13, 21}, 1, {{1, 2}, {3, 4}}}));
  EXPECT_EQ((*loaded)[3], (Sequence{{1, 2}, 0, {}}));

  const fs::path copy = file.parent_path() / "ids.jsonl";
  ASSERT_TRUE(WriteSequences(copy, *loaded).ok());
  auto again = LoadSequences(copy, /*tokenizer=*/nullptr);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again, *loaded);
  struct stat info;
  ASSERT_EQ(stat(copy.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST(LoadSequences, ErrorsNameFileAndLineAndQuoteNothing) {
  const std::pair<std::string, std::string> cases[] = {
      {"{\"text\": \"Jane\xFF\"}", "LINE_MALFORMED"},
      {"{\"text\": \"Jane Doe", "LINE_MALFORMED"},
      {"[1, 2, \"Jane\"]", "LINE_MALFORMED"},
      {"\"Jane\"", "LINE_MALFORMED"},
      {"{\"text\": 7}", "LINE_MALFORMED"},
      {"{\"texts\": \"Jane\"}", "LINE_MALFORMED"},
      {"{\"text\": \"Jane\", \"ids\": [1, 2]}", "LINE_MALFORMED"},
      {"{\"text\": \"Jane\", \"prompt_tokens\": 1}", "LINE_MALFORMED"},
      {"{\"text\": \"Jane\", \"sensitive_spans\": [[0]]}", "LINE_MALFORMED"},
      {"{\"text\": \"Jane\", \"sensitive_spans\": [[0, 1.5]]}", "LINE_MALFORMED"},
      {"{\"text\": \"Jane\", \"sensitive_spans\": [[0, 9]]}", "SPAN_OUT_OF_RANGE"},
      {"{\"text\": \"\"}", "TARGET_EMPTY"},
      {"{\"text\": \"J\"}", "TARGET_TOO_SHORT"},
      {"{\"prompt\": \"Jane\"}", "PROMPT_WITHOUT_ANSWER"},
      {"{\"answer\": \"Jane\"}", "ANSWER_WITHOUT_PROMPT"},
      {"{\"ids\": []}", "TARGET_EMPTY"},
      {"{\"ids\": [1, -2]}", "TOKEN_OUT_OF_VOCABULARY"},
      {"{\"ids\": [1, 257]}", "TOKEN_OUT_OF_VOCABULARY"},
      {"{\"ids\": [1, 4294967297]}", "LINE_MALFORMED"},
      {"{\"ids\": [1, -9223372036854775808]}", "LINE_MALFORMED"},
      {"{\"ids\": [1, 18446744073709551615]}", "LINE_MALFORMED"},
      {"{\"ids\": [1, 1e99]}", "LINE_MALFORMED"},
      {"{\"ids\": [1, \"Jane\"]}", "LINE_MALFORMED"},
      {"{\"ids\": [1, 2], \"prompt_tokens\": 2}", "PROMPT_OUT_OF_RANGE"},
      {"{\"ids\": [1, 2], \"prompt_tokens\": -1}", "PROMPT_OUT_OF_RANGE"},
      {"{\"ids\": [1, 2, 3], \"prompt_tokens\": 1, \"sensitive_spans\": [[0, 2]]}",
       "SPAN_OUT_OF_RANGE"},
      {std::string(100'000, '['), "LINE_MALFORMED"},
  };
  for (const auto& [line, reason] : cases) {
    const absl::Status status =
        LoadSequences(Lines("{\"ids\": [1, 2]}\n\n" + line + "\n"), &ByteTokenizer()).status();
    EXPECT_EQ(ErrorReason(status), reason) << line.substr(0, 100);
    EXPECT_NE(status.message().find("lines.jsonl:3: "), absl::string_view::npos) << status;
    EXPECT_EQ(status.ToString().find("Jane"), std::string::npos) << status;
  }
}

TEST(LoadSequences, LimitsOfAFile) {
  SequenceLimits limits;
  limits.max_line_bytes = 20;
  EXPECT_TRUE(LoadSequences(Lines("{\"ids\": [1, 2, 345]}\n"), nullptr, limits).ok());
  EXPECT_TRUE(LoadSequences(Lines("{\"ids\": [1, 2, 345]}"), nullptr, limits).ok());
  EXPECT_EQ(ErrorReason(LoadSequences(Lines("{\"ids\": [1, 2, 3456]}"), nullptr, limits).status()),
            "LINE_TOO_LONG");
  limits.max_sequences = 1;
  EXPECT_EQ(ErrorReason(
                LoadSequences(Lines("{\"ids\":[1,2]}\n{\"ids\":[1,2]}"), nullptr, limits).status()),
            "TOO_MANY_SEQUENCES");
  EXPECT_EQ(ErrorReason(LoadSequences(Lines("{\"text\": \"abc\"}"), nullptr).status()),
            "TOKENIZER_NEEDED");
  EXPECT_TRUE(LoadSequences(Lines(""), nullptr)->empty());
  EXPECT_EQ(LoadSequences("/no/such/file", nullptr).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(LoadSequences(FreshFolder(), nullptr).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace lethe
