#include "text/sequence.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "text/sequence_lines.h"
#include "text/tokenizer.h"

namespace lethe {
namespace {

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
  LETHE_ASSIGN_OR_RETURN(LineReader lines, LineReader::Open(file, limits.max_line_bytes));
  std::vector<Sequence> sequences;
  for (;;) {
    LETHE_ASSIGN_OR_RETURN(const std::optional<std::string_view> line, lines.Next());
    if (!line.has_value()) return sequences;
    if (sequences.size() == limits.max_sequences) {
      return lines.At(Refused(
          "TOO_MANY_SEQUENCES",
          absl::StrCat("at most ", limits.max_sequences, " sequences are read from a file")));
    }
    absl::StatusOr<Sequence> sequence = SequenceFromLine(*line, tokenizer, limits);
    if (!sequence.ok()) return lines.At(sequence.status());
    sequences.push_back(*std::move(sequence));
  }
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
