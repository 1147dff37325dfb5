// The flags that say which text is meant: --text, --text-file, --ids, --prompt with --answer,
// --sensitive, --subject, --document and --from-jsonl. The same for every command that takes targets.
//
//   AddTargetOptions(command, options.get());                                 // at start
//   LETHE_ASSIGN_OR_RETURN(TargetList list, ReadTargets(cli, *options));      // when it runs
//
// Errors     INVALID_ARGUMENT/USAGE; a message never quotes the text.
#ifndef LETHE_CLI_TARGET_OPTIONS_H_
#define LETHE_CLI_TARGET_OPTIONS_H_

#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/targets.h"

namespace lethe {

struct TargetOptions {
  std::vector<std::string> texts, text_files, ids, prompts, answers, sensitive;
  std::vector<std::string> subjects, documents;  // keys of the model's corpus
  std::string from_jsonl;
};

// `answer_help`: what --answer is in this command.
void AddTargetOptions(CLI::App* command, TargetOptions* options, const std::string& answer_help);

struct TargetList {
  std::vector<v1::Target> flags;  // of all flags but --from-jsonl
  std::vector<TargetLine> lines;  // of --from-jsonl
};
// At least one target; `what` is what the command wants them for: "say what to forget".
absl::StatusOr<TargetList> ReadTargets(Cli& cli, const TargetOptions& options,
                                       const std::string& what);

}  // namespace lethe

#endif  // LETHE_CLI_TARGET_OPTIONS_H_
