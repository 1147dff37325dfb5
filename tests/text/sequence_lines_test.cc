#include "text/sequence_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/status.h"
#include "tests/support/temp_folder.h"

namespace lethe {
namespace {

TEST(KeyedSequenceFromLine, ReadsKeysBesideTheForms) {
  const auto read = KeyedSequenceFromLine(
      R"({"ids": [5, 8, 13], "prompt_tokens": 1, "subject": "p-1", "document": "d 1"})", nullptr,
      {});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->sequence, (Sequence{{5, 8, 13}, 1, {}}));
  EXPECT_EQ(read->subject, "p-1");
  EXPECT_EQ(read->document, "d 1");
}

TEST(KeyedSequenceFromLine, DocumentMayBeLeftOut) {
  const auto read = KeyedSequenceFromLine(R"({"ids": [5, 8], "subject": "p"})", nullptr, {});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_FALSE(read->document.has_value());
}

std::string ReasonOf(std::string_view line) {
  const auto read = KeyedSequenceFromLine(line, nullptr, {.vocab_size = 10});
  EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument) << line;
  EXPECT_EQ(read.status().message().find("secret"), absl::string_view::npos) << read.status();
  return ErrorReason(read.status());
}

TEST(KeyedSequenceFromLine, RefusesWithAReasonAndQuotesNothing) {
  EXPECT_EQ(ReasonOf(R"({"ids": [1, 2]})"), "SUBJECT_MISSING");
  EXPECT_EQ(ReasonOf(R"({"ids": [1, 2], "subject": 5})"), "KEY_INVALID");
  EXPECT_EQ(ReasonOf(R"({"ids": [1, 2], "subject": ""})"), "KEY_INVALID");
  EXPECT_EQ(ReasonOf(R"({"ids": [1, 2], "subject": "secret", "document": ["secret"]})"),
            "KEY_INVALID");
  EXPECT_EQ(ReasonOf(R"({"ids": [1, 2], "subject": ")" + std::string(4097, 'x') + "\"}"),
            "KEY_INVALID");
  EXPECT_EQ(ReasonOf(R"({"ids": [1, 10], "subject": "secret"})"), "TOKEN_OUT_OF_VOCABULARY");
  EXPECT_EQ(ReasonOf(R"({"text": "secret", "subject": "secret"})"), "TOKENIZER_NEEDED");
  EXPECT_EQ(ReasonOf(R"({"ids": [1, 2], "subject": "secret", "subjects": "x"})"), "LINE_MALFORMED");
  EXPECT_EQ(ReasonOf(R"({"ids": [1, 2], "subject": "secret)"), "LINE_MALFORMED");
}

TEST(SequenceFromLine, KnowsNoKeys) {
  const auto read = SequenceFromLine(R"({"ids": [1, 2], "subject": "p"})", nullptr, {});
  EXPECT_EQ(ErrorReason(read.status()), "LINE_MALFORMED");
}

TEST(LineReader, GivesLinesThatAreNotBlankWithTheirNumbers) {
  TempFolder folder;
  std::ofstream(folder / "f", std::ios::binary) << "\n one \n\t\r\n\ntwo";
  auto reader = LineReader::Open(folder / "f", 16);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(**reader->Next(), " one ");
  EXPECT_EQ(reader->number(), 2u);
  EXPECT_EQ(reader->bytes_read(), 7u);
  EXPECT_EQ(**reader->Next(), "two");
  EXPECT_EQ(reader->number(), 5u);
  EXPECT_FALSE(reader->Next()->has_value());
  EXPECT_EQ(reader->bytes_read(), 14u);
}

TEST(LineReader, NamesFileAndLineOfOneThatIsTooLong) {
  TempFolder folder;
  std::ofstream(folder / "f", std::ios::binary) << "ab\n" << std::string(17, 'x') << "\n";
  auto reader = LineReader::Open(folder / "f", 16);
  ASSERT_TRUE(reader.ok());
  EXPECT_TRUE(reader->Next().ok());
  const absl::Status status = reader->Next().status();
  EXPECT_EQ(ErrorReason(status), "LINE_TOO_LONG");
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("/f:2: "));
  EXPECT_EQ(ErrorReason(LineReader::Open(folder / "none").status()), "FILE_ERROR");
}

}  // namespace
}  // namespace lethe
