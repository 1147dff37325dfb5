#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/digest.h"
#include "base/file.h"
#include "base/status.h"
#include "tests/support/testdata.h"

namespace lethe {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::json;

// Every model folder of the test data: 40 texts each, tokenised by the Python `tokenizers` library.
class GoldenTokenizer : public testing::TestWithParam<const char*> {};

TEST_P(GoldenTokenizer, CasesAreEqual) {
  LETHE_TESTDATA_OR_SKIP(const fs::path folder, std::string("models/") + GetParam());
  const Json golden = Json::parse(*ReadFile(folder / "golden.json"));
  auto tokenizer = Tokenizer::Load(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(tokenizer->Digest(), *FileDigest(folder / "tokenizer.json"));
  const auto prefix = golden.at("special_prefix").get<std::vector<int32_t>>();
  ASSERT_EQ(golden.at("tokenizer_cases").size(), 40u);
  for (const Json& wanted : golden.at("tokenizer_cases")) {
    const auto text = wanted.at("text").get<std::string>();
    SCOPED_TRACE(wanted.at("text").dump());
    const auto ids = wanted.at("ids").get<std::vector<int32_t>>();
    EXPECT_EQ(*tokenizer->Encode(text, /*add_special=*/false), ids);
    std::vector<int32_t> whole = prefix;
    whole.insert(whole.end(), ids.begin(), ids.end());
    EXPECT_EQ(*tokenizer->Encode(text, /*add_special=*/true), whole);
    const auto decoded = wanted.at("decoded").get<std::string>();
    EXPECT_EQ(*tokenizer->Decode(ids), decoded);
    EXPECT_EQ(*tokenizer->Decode(ids, /*skip_special=*/false),
              wanted.value("decoded_all", decoded));
    for (const int32_t id : ids) EXPECT_LT(id, tokenizer->vocab_size());
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenTokenizer,
                         testing::Values("stories260k", "tiny_gpt2", "tiny_gpt2_hub",
                                         "tiny_gpt_neo", "tiny_gpt_neox", "tiny_gpt_neox_hub",
                                         "tiny_llama", "tiny_llama3", "tiny_mistral", "tiny_opt",
                                         "tiny_qwen2"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Tokenizer, VocabularyOfQwen2IsItsTokenizersOwn) {
  LETHE_TESTDATA_OR_SKIP(const fs::path folder, "models/tiny_qwen2");
  EXPECT_EQ(Tokenizer::Load(folder)->vocab_size(), 310);  // the model's table has 320 rows
}

std::vector<std::string> Corpus() {
  std::vector<std::string> texts;
  for (int i = 0; i < 200; ++i) {
    texts.push_back("The phone number of person " + std::to_string(i) + " is +41 " +
                    std::to_string(i * 7919 % 100000) + "; naïve café.\n");
  }
  return texts;
}

BpeOptions Options() { return {400, {"<|begin|>", "<|pad|>"}, "<|begin|>"}; }

TEST(TrainBpe, AnyTextSurvivesTheRoundTrip) {
  auto json = TrainBpe(Corpus(), Options());
  ASSERT_TRUE(json.ok()) << json.status();
  auto tokenizer = Tokenizer::FromJson(*json);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(tokenizer->vocab_size(), 400);
  EXPECT_EQ(tokenizer->TokenToId("<|begin|>"), 0);
  EXPECT_EQ(tokenizer->TokenToId("<|pad|>"), 1);
  EXPECT_EQ(tokenizer->IdToToken(0), "<|begin|>");
  for (const std::string text : {"The phone number of person 7", "Привет 🙂 e\u0301", " ",
                                 "\n\n\t x", "\xF4\x8F\xBF\xBF", "seen never before: Qzxj!"}) {
    const auto ids = *tokenizer->Encode(text, /*add_special=*/true);
    ASSERT_GE(ids.size(), 2u);
    EXPECT_EQ(ids[0], 0);
    EXPECT_EQ(*tokenizer->Decode(ids), text);
    EXPECT_EQ(*tokenizer->Decode(ids, /*skip_special=*/false), "<|begin|>" + text);
  }
  // A phrase of the corpus takes fewer tokens than bytes, else nothing was learned.
  EXPECT_LT(tokenizer->Encode("The phone number of person", false)->size(), 10u);
}

TEST(TrainBpe, SameTextsGiveTheSameBytes) {
  EXPECT_EQ(*TrainBpe(Corpus(), Options()), *TrainBpe(Corpus(), Options()));
}

TEST(TrainBpe, SavedFileLoadsAgain) {
  const fs::path folder = FreshFolder();
  const std::string json = *TrainBpe(Corpus(), Options());
  ASSERT_TRUE(WriteFileAtomically(folder / "tokenizer.json", json).ok());
  auto from_folder = Tokenizer::Load(folder);
  auto from_file = Tokenizer::Load(folder / "tokenizer.json");
  ASSERT_TRUE(from_folder.ok() && from_file.ok());
  EXPECT_EQ(from_folder->Digest(), Sha256Hex(json));
  EXPECT_EQ(*from_folder->Encode("person 12", true), *from_file->Encode("person 12", true));
}

TEST(TrainBpe, RefusesWhatCannotBe) {
  EXPECT_EQ(ErrorReason(TrainBpe(Corpus(), {257, {"<a>", "<b>"}, ""}).status()),
            "VOCABULARY_INVALID");
  EXPECT_EQ(ErrorReason(TrainBpe(Corpus(), {400, {"<a>"}, "<b>"}).status()), "VOCABULARY_INVALID");
  EXPECT_EQ(ErrorReason(TrainBpe(Corpus(), {-1, {}, ""}).status()), "VOCABULARY_INVALID");
  const std::vector<std::string> broken = {"fine", "\xFF"};
  EXPECT_EQ(ErrorReason(TrainBpe(broken, {400, {}, ""}).status()), "TEXT_NOT_UTF8");
}

Tokenizer Trained() { return *Tokenizer::FromJson(*TrainBpe(Corpus(), Options())); }

TEST(Tokenizer, BytesCoverTheText) {
  const Tokenizer tokenizer = Trained();
  const std::string text = "The phone of naïve 🙂 Zoë";
  const Encoding encoding = *tokenizer.EncodeWithBytes(text, /*add_special=*/true);
  EXPECT_EQ(encoding.bytes[0], (Span{0, 0}));
  int32_t end = 0;
  for (size_t i = 1; i < encoding.bytes.size(); ++i) {
    EXPECT_LE(encoding.bytes[i].begin, end);  // no byte is left out
    end = std::max(end, encoding.bytes[i].end);
  }
  EXPECT_EQ(end, static_cast<int32_t>(text.size()));
}

TEST(Tokenizer, TextThatIsNotUtf8IsRefusedWithoutQuotingIt) {
  const Tokenizer tokenizer = Trained();
  for (const std::string text :
       {"Jane\xFF", "Jane\xC3", "Jane\xED\xA0\x80", "Jane\xC0\xAF", "Jane\xF4\x90\x80\x80"}) {
    const absl::Status status = tokenizer.Encode(text, false).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ErrorReason(status), "TEXT_NOT_UTF8");
    EXPECT_EQ(status.ToString().find("Jane"), std::string::npos);
    EXPECT_NE(status.message().find("byte 4"), absl::string_view::npos);
    EXPECT_EQ(tokenizer.TokenToId(text), std::nullopt);
  }
}

TEST(Tokenizer, IdsOutsideTheVocabulary) {
  const Tokenizer tokenizer = Trained();
  const std::vector<int32_t> negative = {5, -1}, beyond = {*tokenizer.TokenToId("a"), 400, 1 << 30};
  EXPECT_EQ(ErrorReason(tokenizer.Decode(negative).status()), "TOKEN_INVALID");
  EXPECT_EQ(*tokenizer.Decode(beyond), "a");
  EXPECT_EQ(tokenizer.IdToToken(400), std::nullopt);
  EXPECT_EQ(tokenizer.IdToToken(-5), std::nullopt);
  EXPECT_EQ(tokenizer.TokenToId("no such token"), std::nullopt);
}

TEST(Tokenizer, TruncationAndPaddingOfTheFileAreSetAside) {
  Json json = Json::parse(*TrainBpe(Corpus(), Options()));
  json["truncation"] = {
      {"direction", "Right"}, {"max_length", 3}, {"strategy", "LongestFirst"}, {"stride", 0}};
  json["padding"] = {{"strategy", {{"Fixed", 64}}},
                     {"direction", "Right"},
                     {"pad_to_multiple_of", nullptr},
                     {"pad_id", 1},
                     {"pad_type_id", 0},
                     {"pad_token", "<|pad|>"}};
  auto tokenizer = Tokenizer::FromJson(json.dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const std::string text = "Qzxj kept whole, and no longer";
  EXPECT_EQ(*tokenizer->Encode(text, true), *Trained().Encode(text, true));
}

TEST(Tokenizer, FilesThatAreNoTokenizer) {
  for (const std::string json : {"", "{}", "[]", "null", "{\"model\": {\"type\": \"Magic\"}}",
                                 "\xFF\xFE", "{\"version\": \"1.0\", \"model\": 3}"}) {
    EXPECT_EQ(ErrorReason(Tokenizer::FromJson(json).status()), "TOKENIZER_INVALID") << json;
  }
  EXPECT_EQ(ErrorReason(Tokenizer::FromJson(std::string(1 << 20, '[')).status()),
            "TOKENIZER_INVALID");
  const fs::path folder = FreshFolder();
  EXPECT_EQ(Tokenizer::Load(folder).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(WriteFileAtomically(folder / "tokenizer.json", "{}").ok());
  EXPECT_NE(Tokenizer::Load(folder).status().message().find("tokenizer.json"),
            absl::string_view::npos);
}

TEST(Tokenizer, ManyThreadsEncodeAtOnce) {
  const Tokenizer tokenizer = Trained();
  std::vector<std::vector<int32_t>> wanted;
  for (const std::string& text : Corpus()) wanted.push_back(*tokenizer.Encode(text, true));
  const Tokenizer fresh = Trained();  // its cache of words is empty and fills under contention
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const std::vector<std::string> corpus = Corpus();
      for (size_t i = 0; i < corpus.size(); ++i) {
        const size_t at = (i * 17 + t * 50) % corpus.size();
        if (*fresh.Encode(corpus[at], true) != wanted[at]) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace lethe
