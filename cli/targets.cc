#include "cli/targets.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "cli/exit_code.h"

namespace lethe {
namespace {

using nlohmann::json;
using Spans = std::vector<std::pair<int32_t, int32_t>>;

// Spans in order, those that touch or overlap made one.
Spans Merged(Spans spans) {
  std::sort(spans.begin(), spans.end());
  Spans merged;
  for (const auto& span : spans) {
    if (!merged.empty() && span.first <= merged.back().second) {
      merged.back().second = std::max(merged.back().second, span.second);
    } else {
      merged.push_back(span);
    }
  }
  return merged;
}

absl::Status MarkSensitive(const std::string& text, const std::vector<std::string>& sensitive,
                           v1::Target* target) {
  Spans spans;
  for (size_t part = 0; part < sensitive.size(); ++part) {
    const std::string& words = sensitive[part];
    size_t found = words.empty() ? std::string::npos : text.find(words);
    if (found == std::string::npos) {
      return UsageError(
          absl::StrCat("sensitive part ", part + 1,
                       " does not occur in the text (or the answer); it must be written "
                       "exactly as it stands there"));
    }
    for (; found != std::string::npos; found = text.find(words, found + words.size())) {
      spans.emplace_back(static_cast<int32_t>(found), static_cast<int32_t>(found + words.size()));
    }
  }
  for (const auto& [begin, end] : Merged(std::move(spans))) {
    v1::Span* span = target->add_sensitive_spans();
    span->set_begin(begin);
    span->set_end(end);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> StringField(const json& line, const char* name) {
  if (!line.contains(name)) return std::string();
  if (!line[name].is_string()) return UsageError(absl::StrCat("\"", name, "\" must be a string"));
  return line[name].get<std::string>();
}

absl::StatusOr<std::vector<std::string>> SensitiveField(const json& line) {
  std::vector<std::string> sensitive;
  if (!line.contains("sensitive")) return sensitive;
  const json& field = line["sensitive"];
  if (!field.is_array()) return UsageError("\"sensitive\" must be a list of strings");
  for (const json& part : field) {
    if (!part.is_string()) return UsageError("\"sensitive\" must be a list of strings");
    sensitive.push_back(part.get<std::string>());
  }
  return sensitive;
}

absl::Status AddSpans(const json& line, v1::Target* target) {
  if (!line.contains("sensitive_spans")) return absl::OkStatus();
  const absl::Status malformed = UsageError("\"sensitive_spans\" must be a list of [begin, end]");
  if (!line["sensitive_spans"].is_array()) return malformed;
  for (const json& span : line["sensitive_spans"]) {
    if (!span.is_array() || span.size() != 2 || !span[0].is_number_integer() ||
        !span[1].is_number_integer()) {
      return malformed;
    }
    v1::Span* added = target->add_sensitive_spans();
    added->set_begin(span[0].get<int32_t>());
    added->set_end(span[1].get<int32_t>());
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::Target> IdsOfLine(const json& line) {
  v1::Target target;
  if (!line["ids"].is_array()) return UsageError("\"ids\" must be a list of whole numbers");
  target.mutable_ids();
  for (const json& id : line["ids"]) {
    if (!id.is_number_integer()) return UsageError("\"ids\" must be a list of whole numbers");
    target.mutable_ids()->add_ids(id.get<int32_t>());
  }
  return target;
}

absl::StatusOr<v1::Target> CorpusTargetOfLine(const json& line) {
  if (line.contains("sensitive") || line.contains("sensitive_spans")) {
    return UsageError("\"sensitive\" is for text: a corpus knows the parts of what it holds");
  }
  v1::Target target;
  if (line.contains("subject")) {
    LETHE_ASSIGN_OR_RETURN(*target.mutable_subject(), StringField(line, "subject"));
  } else {
    LETHE_ASSIGN_OR_RETURN(*target.mutable_document(), StringField(line, "document"));
  }
  return target;
}

absl::StatusOr<TargetLine> ParseLine(const std::string& text) {
  const json line = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!line.is_object()) return UsageError("not a JSON object");
  for (const auto& [name, value] : line.items()) {
    static const char* const kKnown[] = {
        "text",     "ids",       "prompt",          "answer",     "subject",
        "document", "sensitive", "sensitive_spans", "request_id", "external_reference"};
    if (std::find(std::begin(kKnown), std::end(kKnown), name) == std::end(kKnown)) {
      return UsageError(absl::StrCat("unknown field \"", name, "\""));
    }
  }
  TargetLine out;
  LETHE_ASSIGN_OR_RETURN(out.request_id, StringField(line, "request_id"));
  LETHE_ASSIGN_OR_RETURN(out.external_reference, StringField(line, "external_reference"));
  LETHE_ASSIGN_OR_RETURN(const std::vector<std::string> sensitive, SensitiveField(line));
  const int forms = line.contains("text") + line.contains("ids") + line.contains("subject") +
                    line.contains("document") +
                    (line.contains("prompt") || line.contains("answer"));
  if (forms != 1) {
    return UsageError(
        "exactly one of \"text\", \"ids\", \"prompt\" with \"answer\", \"subject\" and "
        "\"document\" is needed");
  }
  if (line.contains("subject") || line.contains("document")) {
    LETHE_ASSIGN_OR_RETURN(out.target, CorpusTargetOfLine(line));
  } else if (line.contains("text")) {
    LETHE_ASSIGN_OR_RETURN(const std::string content, StringField(line, "text"));
    LETHE_ASSIGN_OR_RETURN(out.target, TextTarget(content, sensitive));
  } else if (line.contains("ids")) {
    if (!sensitive.empty())
      return UsageError("\"sensitive\" is for text; ids take \"sensitive_spans\"");
    LETHE_ASSIGN_OR_RETURN(out.target, IdsOfLine(line));
  } else {
    LETHE_ASSIGN_OR_RETURN(const std::string prompt, StringField(line, "prompt"));
    LETHE_ASSIGN_OR_RETURN(const std::string answer, StringField(line, "answer"));
    LETHE_ASSIGN_OR_RETURN(out.target, PromptTarget(prompt, answer, sensitive));
  }
  LETHE_RETURN_IF_ERROR(AddSpans(line, &out.target));
  return out;
}

}  // namespace

absl::StatusOr<v1::Target> TextTarget(const std::string& text,
                                      const std::vector<std::string>& sensitive) {
  v1::Target target;
  target.set_text(text);
  LETHE_RETURN_IF_ERROR(MarkSensitive(text, sensitive, &target));
  return target;
}

absl::StatusOr<v1::Target> PromptTarget(const std::string& prompt, const std::string& answer,
                                        const std::vector<std::string>& sensitive) {
  v1::Target target;
  target.mutable_prompt_answer()->set_prompt(prompt);
  target.mutable_prompt_answer()->set_answer(answer);
  LETHE_RETURN_IF_ERROR(MarkSensitive(answer, sensitive, &target));
  return target;
}

absl::StatusOr<v1::Target> IdsTarget(const std::string& ids) {
  v1::Target target;
  target.mutable_ids();
  for (absl::string_view part : absl::StrSplit(ids, absl::ByAnyChar(", \t\n"), absl::SkipEmpty())) {
    int32_t id = 0;
    if (!absl::SimpleAtoi(part, &id))
      return UsageError("ids must be whole numbers, such as 5,8,13");
    target.mutable_ids()->add_ids(id);
  }
  return target;
}

absl::StatusOr<std::vector<TargetLine>> ParseTargetLines(std::istream& in) {
  std::vector<TargetLine> lines;
  std::string text;
  for (int number = 1; std::getline(in, text); ++number) {
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    absl::StatusOr<TargetLine> line = ParseLine(text);
    if (!line.ok()) return Annotate(line.status(), absl::StrCat("line ", number));
    lines.push_back(*std::move(line));
  }
  return lines;
}

}  // namespace lethe
