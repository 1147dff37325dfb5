#include "text/sequence_lines.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "text/tokenizer.h"

namespace lethe {
namespace {

using Json = nlohmann::json;

absl::Status Refused(std::string_view reason, std::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, reason, message);
}

absl::Status Malformed(std::string_view why) { return Refused("LINE_MALFORMED", why); }

absl::StatusOr<int32_t> Int32(const Json& value, std::string_view what) {
  const bool fits = value.is_number_integer() &&
                    (value.is_number_unsigned()
                         ? value.get<uint64_t>() <= uint64_t{std::numeric_limits<int32_t>::max()}
                         : value.get<int64_t>() >= std::numeric_limits<int32_t>::min());
  if (!fits) {
    return Malformed(absl::StrCat(absl::string_view(what.data(), what.size()),
                                  " must be a whole number of 32 bits"));
  }
  return value.get<int32_t>();
}

absl::StatusOr<std::vector<Span>> ReadSpans(const Json& line) {
  std::vector<Span> spans;
  const auto found = line.find("sensitive_spans");
  if (found == line.end()) return spans;
  if (!found->is_array()) return Malformed("\"sensitive_spans\" must be a list of [begin, end]");
  for (const Json& pair : *found) {
    if (!pair.is_array() || pair.size() != 2) {
      return Malformed("\"sensitive_spans\" must be a list of [begin, end]");
    }
    LETHE_ASSIGN_OR_RETURN(const int32_t begin, Int32(pair[0], "the begin of a span"));
    LETHE_ASSIGN_OR_RETURN(const int32_t end, Int32(pair[1], "the end of a span"));
    spans.push_back({begin, end});
  }
  return spans;
}

absl::StatusOr<Sequence> ReadIds(const Json& line, const Tokenizer* tokenizer,
                                 const SequenceLimits& limits) {
  const Json& ids = line.at("ids");
  if (!ids.is_array()) return Malformed("\"ids\" must be a list of token ids");
  Sequence sequence;
  sequence.ids.reserve(ids.size());
  for (const Json& id : ids) {
    LETHE_ASSIGN_OR_RETURN(const int32_t value, Int32(id, "a token id"));
    sequence.ids.push_back(value);
  }
  if (line.contains("prompt_tokens")) {
    LETHE_ASSIGN_OR_RETURN(sequence.prompt_tokens,
                           Int32(line.at("prompt_tokens"), "\"prompt_tokens\""));
  }
  LETHE_ASSIGN_OR_RETURN(sequence.sensitive, ReadSpans(line));
  SequenceLimits own = limits;
  if (own.vocab_size == 0 && tokenizer != nullptr) own.vocab_size = tokenizer->vocab_size();
  LETHE_RETURN_IF_ERROR(CheckSequence(sequence, own));
  return sequence;
}

// Null where the field is absent.
absl::StatusOr<const std::string*> Text(const Json& line, const char* field) {
  const auto found = line.find(field);
  if (found == line.end()) return nullptr;
  if (!found->is_string()) return Malformed(absl::StrCat("\"", field, "\" must be a string"));
  return &found->get_ref<const std::string&>();
}

absl::Status CheckFields(const Json& line, bool keyed) {
  if (!line.is_object()) return Malformed("a line must be a JSON object");
  static constexpr std::string_view kKnown[] = {"text", "prompt",        "answer",
                                                "ids",  "prompt_tokens", "sensitive_spans"};
  for (const auto& item : line.items()) {
    if (keyed && (item.key() == "subject" || item.key() == "document")) continue;
    if (std::find(std::begin(kKnown), std::end(kKnown), item.key()) == std::end(kKnown)) {
      return Malformed(
          "it has a field that is not known; a line is {\"text\"}, {\"prompt\", \"answer\"} or "
          "{\"ids\", \"prompt_tokens\"}, each with \"sensitive_spans\" if wanted");
    }
  }
  const int forms = static_cast<int>(line.contains("text")) +
                    static_cast<int>(line.contains("prompt") || line.contains("answer")) +
                    static_cast<int>(line.contains("ids"));
  if (forms != 1) return Malformed("it must have exactly one of \"text\", \"prompt\", \"ids\"");
  if (line.contains("prompt_tokens") && !line.contains("ids")) {
    return Malformed("\"prompt_tokens\" goes with \"ids\" only");
  }
  return absl::OkStatus();
}

absl::StatusOr<Json> Parse(std::string_view content, bool keyed) {
  Json line = Json::parse(content.begin(), content.end(), nullptr, /*allow_exceptions=*/false);
  if (line.is_discarded()) return Malformed("it is not JSON in UTF-8");
  LETHE_RETURN_IF_ERROR(CheckFields(line, keyed));
  return line;
}

absl::StatusOr<Sequence> ReadSequence(const Json& line, const Tokenizer* tokenizer,
                                      const SequenceLimits& limits) {
  if (line.contains("ids")) return ReadIds(line, tokenizer, limits);
  if (tokenizer == nullptr) {
    return Refused("TOKENIZER_NEEDED", "it holds text, and no tokenizer was given to read it");
  }
  LETHE_ASSIGN_OR_RETURN(const std::vector<Span> spans, ReadSpans(line));
  LETHE_ASSIGN_OR_RETURN(const std::string* text, Text(line, "text"));
  if (text != nullptr) return SequenceFromText(*tokenizer, *text, spans, limits);
  LETHE_ASSIGN_OR_RETURN(const std::string* prompt, Text(line, "prompt"));
  LETHE_ASSIGN_OR_RETURN(const std::string* answer, Text(line, "answer"));
  return SequenceFromPrompt(*tokenizer, prompt == nullptr ? "" : *prompt,
                            answer == nullptr ? "" : *answer, spans, limits);
}

// Nothing where the field is absent.
absl::StatusOr<std::optional<std::string>> ReadKey(const Json& line, const char* field) {
  const auto found = line.find(field);
  if (found == line.end()) return std::nullopt;
  if (!found->is_string()) {
    return Refused("KEY_INVALID", absl::StrCat("\"", field, "\" must be a string"));
  }
  const std::string& key = found->get_ref<const std::string&>();
  if (key.empty() || key.size() > kMaxKeyBytes) {
    return Refused("KEY_INVALID",
                   absl::StrCat("\"", field, "\" must have 1 to ", kMaxKeyBytes, " bytes"));
  }
  return key;
}

bool IsBlank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

}  // namespace

absl::StatusOr<Sequence> SequenceFromLine(std::string_view line, const Tokenizer* tokenizer,
                                          const SequenceLimits& limits) {
  LETHE_ASSIGN_OR_RETURN(const Json json, Parse(line, /*keyed=*/false));
  return ReadSequence(json, tokenizer, limits);
}

absl::StatusOr<KeyedSequence> KeyedSequenceFromLine(std::string_view line,
                                                    const Tokenizer* tokenizer,
                                                    const SequenceLimits& limits) {
  LETHE_ASSIGN_OR_RETURN(const Json json, Parse(line, /*keyed=*/true));
  KeyedSequence keyed;
  LETHE_ASSIGN_OR_RETURN(std::optional<std::string> subject, ReadKey(json, "subject"));
  if (!subject.has_value()) {
    return Refused("SUBJECT_MISSING", "it has no \"subject\": the key of the person it is about");
  }
  keyed.subject = *std::move(subject);
  LETHE_ASSIGN_OR_RETURN(keyed.document, ReadKey(json, "document"));
  LETHE_ASSIGN_OR_RETURN(keyed.sequence, ReadSequence(json, tokenizer, limits));
  return keyed;
}

LineReader::LineReader(std::filesystem::path file, size_t max_line_bytes)
    : file_(std::move(file)),
      max_line_bytes_(max_line_bytes),
      in_(file_, std::ios::binary),
      buffer_(max_line_bytes + 1, '\0') {}

absl::StatusOr<LineReader> LineReader::Open(const std::filesystem::path& file,
                                            size_t max_line_bytes) {
  std::error_code ec;
  if (!std::filesystem::is_regular_file(file, ec)) {
    return Error(absl::StatusCode::kNotFound, "FILE_ERROR",
                 absl::StrCat("cannot read ", file.string(), ": there is no such file"));
  }
  LineReader reader(file, max_line_bytes);
  if (!reader.in_) {
    return Error(absl::StatusCode::kPermissionDenied, "FILE_ERROR",
                 absl::StrCat("cannot read ", file.string()));
  }
  return reader;
}

absl::Status LineReader::At(const absl::Status& status) const {
  return WithDetails(Annotate(status, absl::StrCat(file_.string(), ":", number_)),
                     {{"line", absl::StrCat(number_)}});
}

absl::StatusOr<std::optional<std::string_view>> LineReader::Next() {
  for (;;) {
    ++number_;
    in_.getline(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
    const auto read = static_cast<size_t>(in_.gcount());
    bytes_read_ += read;
    if (in_.bad()) {
      return At(Error(absl::StatusCode::kUnavailable, "FILE_ERROR", "cannot read"));
    }
    if (in_.fail() && !in_.eof()) {
      return At(Refused("LINE_TOO_LONG",
                        absl::StrCat("the line has more than ", max_line_bytes_, " bytes")));
    }
    if (in_.eof() && read == 0) return std::nullopt;
    const std::string_view line(buffer_.data(), in_.eof() ? read : read - 1);
    if (!IsBlank(line)) return line;
  }
}

}  // namespace lethe
