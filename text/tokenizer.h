// Tokenizer: text to token ids and back, as the tokenizer.json of a Hugging Face folder says.
//
//   LETHE_ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::Load("/models/m"));
//   LETHE_ASSIGN_OR_RETURN(auto ids, tokenizer.Encode("Once upon a time", /*add_special=*/true));
//   LETHE_ASSIGN_OR_RETURN(std::string text, tokenizer.Decode(ids));
//
// Whole      a text is always tokenised whole: `truncation` and `padding` of tokenizer.json are set
//            aside.
// Specials   the name of a special token inside a text becomes that token, as Hugging Face does it.
// Threads    a Tokenizer never changes: any number of threads may call its methods. Copies are
//            cheap and share it.
// Memory     the library remembers words it has met (up to 10,000), so text lives in memory until
//            the last copy is gone.
// Errors     INVALID_ARGUMENT: TEXT_NOT_UTF8; TOKENIZER_INVALID tokenizer.json cannot be used;
//            TOKEN_INVALID a negative id; VOCABULARY_INVALID (training). INTERNAL/TOKENIZER_FAILED
//            the library gave up on this text. NOT_FOUND or the file system's code with FILE_ERROR.
//            No message quotes the text.
#ifndef LETHE_TEXT_TOKENIZER_H_
#define LETHE_TEXT_TOKENIZER_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "text/span.h"

namespace lethe {

// Ids with the bytes [begin, end) of the text that each stands for; special tokens that were added
// have (0, 0). A token may share bytes with its neighbour where several tokens make one character.
struct Encoding {
  std::vector<int32_t> ids;
  std::vector<Span> bytes;
};

class Tokenizer {
 public:
  // From a tokenizer.json, or from the folder that holds one.
  static absl::StatusOr<Tokenizer> Load(const std::filesystem::path& path);
  // From the bytes of a tokenizer.json.
  static absl::StatusOr<Tokenizer> FromJson(std::string_view json);

  // `add_special` puts in what the model expects around a text (often a token that begins it).
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text, bool add_special) const;
  absl::StatusOr<Encoding> EncodeWithBytes(std::string_view text, bool add_special) const;

  // Ids that the tokenizer does not know decode to nothing (a model's vocabulary may be larger than
  // its tokenizer's). Bytes that make no UTF-8 come out as U+FFFD.
  absl::StatusOr<std::string> Decode(std::span<const int32_t> ids, bool skip_special = true) const;

  std::optional<int32_t> TokenToId(std::string_view token) const;
  std::optional<std::string> IdToToken(int32_t id) const;

  // One more than the largest id: what a model's vocabulary must at least hold.
  int32_t vocab_size() const;

  // SHA-256 of the bytes of tokenizer.json. Ids mean something only together with it.
  const std::string& Digest() const;

 private:
  struct Shared;
  explicit Tokenizer(std::shared_ptr<const Shared> shared) : shared_(std::move(shared)) {}
  std::shared_ptr<const Shared> shared_;
};

struct BpeOptions {
  // At least 256 and the special tokens; fewer come out of a small corpus.
  int32_t vocab_size = 1024;
  std::vector<std::string> special_tokens;  // they get the ids 0, 1, … in this order
  // One of them, put before a text that is encoded with special tokens; may be empty.
  std::string bos_token;
};

// Trains a byte-level BPE (as GPT-2 has it: any text survives the round trip) and gives its
// tokenizer.json. The same texts in the same order give the same bytes.
absl::StatusOr<std::string> TrainBpe(std::span<const std::string> texts, const BpeOptions& options);

}  // namespace lethe

#endif  // LETHE_TEXT_TOKENIZER_H_
