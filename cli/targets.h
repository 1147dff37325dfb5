// What is to be forgotten, as people write it: text, ids, prompt and answer, with the sensitive
// parts given as the words themselves; or a person or document of the model's corpus, by its key.
//
//   LETHE_ASSIGN_OR_RETURN(v1::Target target, TextTarget("Jane Roe, 555-0100", {"555-0100"}));
//   LETHE_ASSIGN_OR_RETURN(std::vector<TargetLine> lines, ParseTargetLines(std::cin));
//
// Errors     INVALID_ARGUMENT/USAGE; a message never quotes the text.
#ifndef LETHE_CLI_TARGETS_H_
#define LETHE_CLI_TARGETS_H_

#include <istream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lethe/v1/ticket.pb.h"

namespace lethe {

// Every occurrence of each sensitive part becomes a span; a part that does not occur is an error.
absl::StatusOr<v1::Target> TextTarget(const std::string& text,
                                      const std::vector<std::string>& sensitive);
absl::StatusOr<v1::Target> PromptTarget(const std::string& prompt, const std::string& answer,
                                        const std::vector<std::string>& sensitive);
// "5,8,13" or "5 8 13".
absl::StatusOr<v1::Target> IdsTarget(const std::string& ids);

// A line of JSON Lines: one of text, ids, prompt with answer, subject, document; further
//   "sensitive"           ["555-0100", ...]: the words themselves, in the text or the answer
//   "sensitive_spans"     [[begin, end], ...]: bytes, or positions in ids
//   "request_id"          of the ticket that is made of this line
//   "external_reference"  likewise
struct TargetLine {
  v1::Target target;
  std::string request_id;
  std::string external_reference;
};
absl::StatusOr<std::vector<TargetLine>> ParseTargetLines(std::istream& in);

}  // namespace lethe

#endif  // LETHE_CLI_TARGETS_H_
