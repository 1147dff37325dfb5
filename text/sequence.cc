#include "text/sequence.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "text/tokenizer.h"

namespace lethe {
namespace {

using Json = nlohmann::json;

absl::Status Refused(std::string_view reason, std::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, reason, message);
}

absl::Status SpanOutOfRange(std::string_view what) {
  return Refused("SPAN_OUT_OF_RANGE",
                 absl::StrCat("a sensitive span ", absl::string_view(what.data(), what.size())));
}

// Ascending, apart, not empty, within [begin, end).
absl::Status CheckSpans(std::span<const Span> spans, int64_t begin, int64_t end) {
  int64_t from = begin;
  for (const Span& span : spans) {
    if (span.begin < begin || span.end > end) return SpanOutOfRange("leaves its text");
    if (span.begin >= span.end) return SpanOutOfRange("is empty or ends before it begins");
    if (span.begin < from) return SpanOutOfRange("overlaps the one before or is out of order");
    from = span.end;
  }
  return absl::OkStatus();
}

// Adds the tokens that share a byte with `bytes` to
// `spans`, joined to the last one where they meet.
absl::Status AddTokensOf(Span bytes, const Encoding& encoding, int32_t from,
                         std::vector<Span>* spans) {
  Span tokens{-1, -1};
  for (int32_t i = from; i < static_cast<int32_t>(encoding.bytes.size()); ++i) {
    const Span& token = encoding.bytes[i];
    if (token.begin >= bytes.end || token.end <= bytes.begin) continue;
    if (tokens.begin < 0) tokens.begin = i;
    tokens.end = i + 1;
  }
  if (tokens.begin < 0) return SpanOutOfRange("holds nothing that the tokenizer keeps");
  if (!spans->empty() && tokens.begin < spans->back().end) {
    spans->back().end = std::max(spans->back().end, tokens.end);
  } else {
    spans->push_back(tokens);
  }
  return absl::OkStatus();
}

// `context_bytes` is the length of the prompt at the head of `text`; spans count from its end.
absl::StatusOr<Sequence> Tokenise(const Tokenizer& tokenizer, std::string_view text,
                                  size_t context_bytes, std::span<const Span> sensitive,
                                  const SequenceLimits& limits) {
  if (text.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return Refused("TARGET_TOO_LONG", "the text has more than 2 GiB");
  }
  const auto context = static_cast<int32_t>(context_bytes);
  const auto length = static_cast<int32_t>(text.size());
  LETHE_RETURN_IF_ERROR(CheckSpans(sensitive, 0, length - context));
  LETHE_ASSIGN_OR_RETURN(Encoding encoding, tokenizer.EncodeWithBytes(text, limits.add_special));
  Sequence sequence;
  if (context > 0) {
    const auto count = static_cast<int32_t>(encoding.ids.size());
    while (sequence.prompt_tokens < count &&
           encoding.bytes[sequence.prompt_tokens].end <= context) {
      ++sequence.prompt_tokens;
    }
  }
  for (const Span& span : sensitive) {
    LETHE_RETURN_IF_ERROR(AddTokensOf({span.begin + context, span.end + context}, encoding,
                                      sequence.prompt_tokens, &sequence.sensitive));
  }
  sequence.ids = std::move(encoding.ids);
  SequenceLimits own = limits;
  if (own.vocab_size == 0) own.vocab_size = tokenizer.vocab_size();
  LETHE_RETURN_IF_ERROR(CheckSequence(sequence, own));
  return sequence;
}

// --- lines of a file ---------------------------------------------------------------------------

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

absl::Status CheckFields(const Json& line) {
  if (!line.is_object()) return Malformed("a line must be a JSON object");
  static constexpr std::string_view kKnown[] = {"text", "prompt",        "answer",
                                                "ids",  "prompt_tokens", "sensitive_spans"};
  for (const auto& item : line.items()) {
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

absl::StatusOr<Sequence> ReadLine(std::string_view content, const Tokenizer* tokenizer,
                                  const SequenceLimits& limits) {
  const Json line =
      Json::parse(content.begin(), content.end(), nullptr, /*allow_exceptions=*/false);
  if (line.is_discarded()) return Malformed("it is not JSON in UTF-8");
  LETHE_RETURN_IF_ERROR(CheckFields(line));
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

bool IsBlank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

}  // namespace

absl::Status CheckSequence(const Sequence& sequence, const SequenceLimits& limits) {
  const auto size = static_cast<int64_t>(sequence.ids.size());
  if (size == 0) return Refused("TARGET_EMPTY", "there is nothing in it");
  if (size < limits.min_tokens) {
    return Refused("TARGET_TOO_SHORT", absl::StrCat("it has ", size, " tokens; at least ",
                                                    limits.min_tokens, " are needed"));
  }
  if (size > limits.max_tokens) {
    return Refused("TARGET_TOO_LONG", absl::StrCat("it has ", size, " tokens; at most ",
                                                   limits.max_tokens, " are accepted: split it"));
  }
  for (const int32_t id : sequence.ids) {
    if (id < 0 || (limits.vocab_size > 0 && id >= limits.vocab_size)) {
      return Refused("TOKEN_OUT_OF_VOCABULARY",
                     absl::StrCat("a token id is negative or not below the vocabulary's size of ",
                                  limits.vocab_size));
    }
  }
  if (sequence.prompt_tokens < 0 || sequence.prompt_tokens >= size) {
    return Refused("PROMPT_OUT_OF_RANGE", "no token is left behind the prompt");
  }
  return CheckSpans(sequence.sensitive, sequence.prompt_tokens, size);
}

absl::StatusOr<Sequence> SequenceFromText(const Tokenizer& tokenizer, std::string_view text,
                                          std::span<const Span> sensitive,
                                          const SequenceLimits& limits) {
  if (text.empty()) return Refused("TARGET_EMPTY", "the text is empty");
  return Tokenise(tokenizer, text, 0, sensitive, limits);
}

absl::StatusOr<Sequence> SequenceFromPrompt(const Tokenizer& tokenizer, std::string_view prompt,
                                            std::string_view answer,
                                            std::span<const Span> sensitive,
                                            const SequenceLimits& limits) {
  if (prompt.empty() && answer.empty()) return Refused("TARGET_EMPTY", "the text is empty");
  if (answer.empty()) return Refused("PROMPT_WITHOUT_ANSWER", "a prompt needs an answer to forget");
  if (prompt.empty()) return Refused("ANSWER_WITHOUT_PROMPT", "an answer needs its prompt");
  std::string joined(prompt);
  joined.append(answer);
  return Tokenise(tokenizer, joined, prompt.size(), sensitive, limits);
}

absl::StatusOr<std::vector<Sequence>> LoadSequences(const std::filesystem::path& file,
                                                    const Tokenizer* tokenizer,
                                                    const SequenceLimits& limits) {
  std::error_code ec;
  if (!std::filesystem::is_regular_file(file, ec)) {
    return Error(absl::StatusCode::kNotFound, "FILE_ERROR",
                 absl::StrCat("cannot read ", file.string(), ": there is no such file"));
  }
  std::ifstream in(file, std::ios::binary);
  if (!in) {
    return Error(absl::StatusCode::kPermissionDenied, "FILE_ERROR",
                 absl::StrCat("cannot read ", file.string()));
  }
  std::vector<Sequence> sequences;
  std::string buffer(limits.max_line_bytes + 1, '\0');
  for (size_t number = 1;; ++number) {
    const auto at = [&](const absl::Status& status) {
      return Annotate(status, absl::StrCat(file.string(), ":", number));
    };
    in.getline(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    const auto read = static_cast<size_t>(in.gcount());
    if (in.bad()) return at(Error(absl::StatusCode::kUnavailable, "FILE_ERROR", "cannot read"));
    if (in.fail() && !in.eof()) {
      return at(Refused("LINE_TOO_LONG",
                        absl::StrCat("the line has more than ", limits.max_line_bytes, " bytes")));
    }
    if (in.eof() && read == 0) break;
    const std::string_view line(buffer.data(), in.eof() ? read : read - 1);
    if (IsBlank(line)) continue;
    if (sequences.size() == limits.max_sequences) {
      return at(Refused("TOO_MANY_SEQUENCES", absl::StrCat("at most ", limits.max_sequences,
                                                           " sequences are read from a file")));
    }
    absl::StatusOr<Sequence> sequence = ReadLine(line, tokenizer, limits);
    if (!sequence.ok()) return at(sequence.status());
    sequences.push_back(*std::move(sequence));
  }
  return sequences;
}

absl::Status WriteSequences(const std::filesystem::path& file,
                            std::span<const Sequence> sequences) {
  std::string content;
  for (const Sequence& sequence : sequences) {
    const char* comma = "";
    content += "{\"ids\":[";
    for (const int32_t id : sequence.ids) {
      absl::StrAppend(&content, comma, id);
      comma = ",";
    }
    content += "]";
    if (sequence.prompt_tokens > 0) {
      absl::StrAppend(&content, ",\"prompt_tokens\":", sequence.prompt_tokens);
    }
    if (!sequence.sensitive.empty()) {
      comma = "";
      content += ",\"sensitive_spans\":[";
      for (const Span& span : sequence.sensitive) {
        absl::StrAppend(&content, comma, "[", span.begin, ",", span.end, "]");
        comma = ",";
      }
      content += "]";
    }
    content += "}\n";
  }
  return WriteFileAtomically(file, content, 0600);
}

}  // namespace lethe
