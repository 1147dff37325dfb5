#include "text/tokenizer.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/status.h"
#include "text/ffi/lethe_tokenizers.h"

namespace lethe {
namespace {

// A tokenizer.json of a 256,000-token vocabulary has about 35 MB.
constexpr size_t kTokenizerLimitBytes = size_t{256} << 20;
constexpr size_t kTextLimitBytes = size_t{1} << 30;

const uint8_t* Bytes(std::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

LetheText AsText(std::string_view text) { return {Bytes(text), text.size()}; }

// Takes the message of a failed call and frees it.
absl::Status FromCode(int code, char* message, std::string_view reason) {
  const std::string text = message != nullptr ? message : "no message";
  lethe_error_free(message);
  if (code == LETHE_TOK_NOT_UTF8) {
    return Error(absl::StatusCode::kInvalidArgument, "TEXT_NOT_UTF8",
                 absl::StrCat("the text is ", text));
  }
  // A file or a wish that the library chokes on is the caller's; a text that it chokes on is not.
  return Error(reason == "TOKENIZER_FAILED" ? absl::StatusCode::kInternal
                                            : absl::StatusCode::kInvalidArgument,
               reason, text);
}

// A buffer of bytes that the library gave out.
std::string TakeBytes(uint8_t* data, size_t size) {
  std::string copy(reinterpret_cast<const char*>(data), size);
  lethe_bytes_free(data, size);
  return copy;
}

}  // namespace

struct Tokenizer::Shared {
  LetheTokenizer* handle = nullptr;
  std::string digest;
  ~Shared() { lethe_tokenizer_free(handle); }
};

absl::StatusOr<Tokenizer> Tokenizer::Load(const std::filesystem::path& path) {
  std::error_code ec;
  const auto file = std::filesystem::is_directory(path, ec) ? path / "tokenizer.json" : path;
  LETHE_ASSIGN_OR_RETURN(const std::string json, ReadFile(file, kTokenizerLimitBytes));
  absl::StatusOr<Tokenizer> tokenizer = FromJson(json);
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), file.string());
  return tokenizer;
}

absl::StatusOr<Tokenizer> Tokenizer::FromJson(std::string_view json) {
  auto shared = std::make_shared<Shared>();
  char* message = nullptr;
  const int code = lethe_tokenizer_from_bytes(Bytes(json), json.size(), &shared->handle, &message);
  if (code != LETHE_TOK_OK) return FromCode(code, message, "TOKENIZER_INVALID");
  if (lethe_tokenizer_id_limit(shared->handle) > uint32_t{std::numeric_limits<int32_t>::max()}) {
    return Error(
        absl::StatusCode::kInvalidArgument, "TOKENIZER_INVALID",
        "a token of this tokenizer has an id above 2^31 - 2; no model can have such a vocabulary");
  }
  shared->digest = Sha256Hex(json);
  return Tokenizer(std::move(shared));
}

absl::StatusOr<Encoding> Tokenizer::EncodeWithBytes(std::string_view text, bool add_special) const {
  if (text.size() > kTextLimitBytes) {
    return Error(absl::StatusCode::kInvalidArgument, "TEXT_TOO_LONG",
                 absl::StrCat("the text has ", text.size(), " bytes; at most ", kTextLimitBytes,
                              " are tokenised"));
  }
  LetheToken* tokens = nullptr;
  size_t count = 0;
  char* message = nullptr;
  const int code = lethe_tokenizer_encode(shared_->handle, Bytes(text), text.size(),
                                          add_special ? 1 : 0, &tokens, &count, &message);
  if (code != LETHE_TOK_OK) return FromCode(code, message, "TOKENIZER_FAILED");
  Encoding encoding;
  encoding.ids.reserve(count);
  encoding.bytes.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    encoding.ids.push_back(static_cast<int32_t>(tokens[i].id));
    encoding.bytes.push_back(
        {static_cast<int32_t>(tokens[i].begin), static_cast<int32_t>(tokens[i].end)});
  }
  lethe_tokens_free(tokens, count);
  return encoding;
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view text,
                                                       bool add_special) const {
  LETHE_ASSIGN_OR_RETURN(Encoding encoding, EncodeWithBytes(text, add_special));
  return std::move(encoding.ids);
}

absl::StatusOr<std::string> Tokenizer::Decode(std::span<const int32_t> ids,
                                              bool skip_special) const {
  std::vector<uint32_t> unsigned_ids;
  unsigned_ids.reserve(ids.size());
  for (const int32_t id : ids) {
    if (id < 0)
      return Error(absl::StatusCode::kInvalidArgument, "TOKEN_INVALID", "a token id is negative");
    unsigned_ids.push_back(static_cast<uint32_t>(id));
  }
  uint8_t* data = nullptr;
  size_t size = 0;
  char* message = nullptr;
  const int code = lethe_tokenizer_decode(shared_->handle, unsigned_ids.data(), unsigned_ids.size(),
                                          skip_special ? 1 : 0, &data, &size, &message);
  if (code != LETHE_TOK_OK) return FromCode(code, message, "TOKENIZER_FAILED");
  return TakeBytes(data, size);
}

std::optional<int32_t> Tokenizer::TokenToId(std::string_view token) const {
  int found = 0;
  uint32_t id = 0;
  const int code = lethe_tokenizer_token_to_id(shared_->handle, Bytes(token), token.size(), &found,
                                               &id, /*error=*/nullptr);
  if (code != LETHE_TOK_OK || found == 0) return std::nullopt;
  return static_cast<int32_t>(id);
}

std::optional<std::string> Tokenizer::IdToToken(int32_t id) const {
  if (id < 0) return std::nullopt;
  int found = 0;
  uint8_t* data = nullptr;
  size_t size = 0;
  const int code =
      lethe_tokenizer_id_to_token(shared_->handle, static_cast<uint32_t>(id), &found, &data, &size,
                                  /*error=*/nullptr);
  if (code != LETHE_TOK_OK) return std::nullopt;
  std::string token = TakeBytes(data, size);
  if (found == 0) return std::nullopt;
  return token;
}

int32_t Tokenizer::vocab_size() const {
  return static_cast<int32_t>(lethe_tokenizer_id_limit(shared_->handle));
}

const std::string& Tokenizer::Digest() const { return shared_->digest; }

absl::StatusOr<std::string> TrainBpe(std::span<const std::string> texts,
                                     const BpeOptions& options) {
  if (options.vocab_size < 0 || options.vocab_size > (1 << 24)) {
    return Error(
        absl::StatusCode::kInvalidArgument, "VOCABULARY_INVALID",
        absl::StrCat("a vocabulary of ", options.vocab_size, " entries cannot be trained"));
  }
  std::vector<LetheText> corpus, special;
  for (const std::string& text : texts) corpus.push_back(AsText(text));
  for (const std::string& token : options.special_tokens) special.push_back(AsText(token));
  uint8_t* data = nullptr;
  size_t size = 0;
  char* message = nullptr;
  const int code = lethe_train_byte_bpe(
      corpus.data(), corpus.size(), static_cast<size_t>(options.vocab_size), special.data(),
      special.size(), AsText(options.bos_token), &data, &size, &message);
  if (code != LETHE_TOK_OK) return FromCode(code, message, "VOCABULARY_INVALID");
  return TakeBytes(data, size);
}

}  // namespace lethe
