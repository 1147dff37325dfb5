#include "cli/target_options.h"

#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/exit_code.h"

namespace lethe {
namespace {

absl::StatusOr<std::string> ReadInput(Cli& cli, const std::string& file) {
  if (file == "-") {
    return std::string(std::istreambuf_iterator<char>(*cli.io().in),
                       std::istreambuf_iterator<char>());
  }
  absl::StatusOr<std::string> content = ReadFile(file, 64 << 20);
  if (!content.ok())
    return UsageError(absl::StrCat("cannot read ", file, ": ", content.status().message()));
  return content;
}

absl::StatusOr<std::vector<TargetLine>> ReadLines(Cli& cli, const std::string& file) {
  if (file == "-") return ParseTargetLines(*cli.io().in);
  std::ifstream in(file);
  if (!in) return UsageError(absl::StrCat("cannot read ", file));
  absl::StatusOr<std::vector<TargetLine>> lines = ParseTargetLines(in);
  return lines.ok() ? lines : Annotate(lines.status(), file);
}

absl::StatusOr<std::vector<v1::Target>> TargetsOfFlags(Cli& cli, const TargetOptions& options) {
  if (options.prompts.size() != options.answers.size()) {
    return UsageError("each --prompt needs its --answer, in the same order");
  }
  if (!options.sensitive.empty() && options.texts.empty() && options.text_files.empty() &&
      options.answers.empty() && !(options.subjects.empty() && options.documents.empty())) {
    return UsageError("--sensitive is for texts: a corpus knows the parts of what it holds");
  }
  std::vector<v1::Target> targets;
  for (const std::string& subject : options.subjects) {
    targets.emplace_back().set_subject(subject);
  }
  for (const std::string& document : options.documents) {
    targets.emplace_back().set_document(document);
  }
  for (const std::string& text : options.texts) {
    LETHE_ASSIGN_OR_RETURN(targets.emplace_back(), TextTarget(text, options.sensitive));
  }
  for (const std::string& file : options.text_files) {
    LETHE_ASSIGN_OR_RETURN(std::string text, ReadInput(cli, file));
    // Editors end a file with a newline that the person did not mean.
    if (!text.empty() && text.back() == '\n') text.pop_back();
    LETHE_ASSIGN_OR_RETURN(targets.emplace_back(), TextTarget(text, options.sensitive));
  }
  for (size_t i = 0; i < options.prompts.size(); ++i) {
    LETHE_ASSIGN_OR_RETURN(targets.emplace_back(),
                           PromptTarget(options.prompts[i], options.answers[i], options.sensitive));
  }
  for (const std::string& ids : options.ids) {
    LETHE_ASSIGN_OR_RETURN(targets.emplace_back(), IdsTarget(ids));
  }
  return targets;
}

}  // namespace

void AddTargetOptions(CLI::App* command, TargetOptions* options, const std::string& answer_help) {
  command->add_option("--text", options->texts, "Verbatim text; may be repeated")
      ->allow_extra_args(false);
  command
      ->add_option("--text-file", options->text_files, "File with the text, - for standard input")
      ->allow_extra_args(false);
  command->add_option("--ids", options->ids, "Token ids, 5,8,13; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--prompt", options->prompts, "Context that is not forgotten; with --answer")
      ->allow_extra_args(false);
  command->add_option("--answer", options->answers, answer_help)->allow_extra_args(false);
  command
      ->add_option("--sensitive", options->sensitive,
                   "Words in the text (or the answer) that identify the person; may be repeated")
      ->allow_extra_args(false);
  command
      ->add_option("--subject", options->subjects,
                   "All that the model's corpus has of this person; may be repeated")
      ->allow_extra_args(false);
  command
      ->add_option("--document", options->documents,
                   "This document of the model's corpus; may be repeated")
      ->allow_extra_args(false);
  command->add_option(
      "--from-jsonl", options->from_jsonl,
      "File of targets, one JSON object a line: text | ids | prompt and answer | subject | "
      "document, sensitive");
}

absl::StatusOr<TargetList> ReadTargets(Cli& cli, const TargetOptions& options,
                                       const std::string& what) {
  TargetList list;
  LETHE_ASSIGN_OR_RETURN(list.flags, TargetsOfFlags(cli, options));
  if (!options.from_jsonl.empty()) {
    LETHE_ASSIGN_OR_RETURN(list.lines, ReadLines(cli, options.from_jsonl));
  }
  if (list.flags.empty() && list.lines.empty()) {
    return UsageError(absl::StrCat(what,
                                   ": --subject, --document, --text, --text-file, --prompt with "
                                   "--answer, --ids or --from-jsonl"));
  }
  return list;
}

}  // namespace lethe
