#include "cli/exit_code.h"

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace lethe {
namespace {

struct Hint {
  std::string_view reason;
  std::string_view sentence;
};
constexpr Hint kHints[] = {
    {"NOT_REACHABLE",
     "is lethe-server running there? `lethe up` starts one on this machine; --server or "
     "LETHE_SERVER names another"},
    {"NO_ANSWER",
     "the server is there but slow; repeat the command, with the same --request-id if it creates a "
     "ticket"},
    {"SERVER_DRAINING", "the server is restarting; repeat the command in a few seconds"},
    {"STORE_READ_ONLY", "the server's disk failed a write: see its log, make room, restart it"},
    {"DISK_FULL", "the server's disk is full: make room, then restart it; nothing is lost"},
    {"LOCAL_DISK_FULL",
     "make room or name a file on another disk, and repeat the command; an older file of that name "
     "is as it was, but what a shell wrote with > may be cut short"},
    {"OUTPUT_CLOSED",
     "the command was carried out, its output is lost: look at the ticket, model or report again, "
     "with the output going somewhere that takes it"},
    {"STORE_BUSY", "repeat the command in a few seconds"},
    {"TOO_MANY_CALLS", "repeat the command in a few seconds"},
    {"TICKET_NOT_FOUND", "`lethe ticket list` shows the tickets"},
    {"MODEL_NOT_FOUND", "`lethe model list` shows the models; `lethe model register` adds one"},
    {"MODEL_NOT_READY", "`lethe model get NAME` says how far it is; repeat when it is READY"},
    {"MODEL_EXISTS", "choose another name; `lethe model get NAME` shows the one that is there"},
    {"NO_CORPUS",
     "`lethe corpus register` registers what the model was trained on; or name the text itself"},
    {"CORPUS_NOT_READY", "`lethe model get NAME` says how far its corpus is"},
    {"TICKETS_OPEN",
     "`lethe ticket list --model NAME` shows them: wait for their end, or cancel them and file "
     "them again afterwards"},
    {"CORPUS_UNAVAILABLE",
     "the server cannot read the corpus' folder now: see its log, then repeat the command"},
    {"CORPUS_CHANGED", "something was erased meanwhile: repeat the command"},
    {"CORPUS_EXISTS", "`lethe model get NAME` shows the corpus that is there"},
    {"SUBJECT_UNKNOWN",
     "keys are compared byte by byte with those of the registered lines; of a person whose data is "
     "erased nothing is found either"},
    {"DOCUMENT_UNKNOWN",
     "keys are compared byte by byte with those of the registered lines; what is erased is not "
     "found either"},
    {"REPORT_NOT_FOUND",
     "a report exists once a candidate was verified: `lethe ticket get ID` lists them"},
    {"WRONG_STATE",
     "`lethe ticket get ID` (or `lethe model checkpoints NAME`) shows the present state"},
    {"ETAG_MISMATCH",
     "somebody changed it meanwhile: look at it again and repeat with its new etag"},
    {"GENERATION_MISMATCH",
     "another promotion came between: `lethe model get NAME` shows the present generation"},
    {"REQUEST_ID_REUSED",
     "this --request-id was used for another request: leave it out to get a new one"},
    {"ROLLBACK_REEXPOSES_FORGOTTEN",
     "that checkpoint still knows what was forgotten since; add --acknowledge-reexposed if that is "
     "meant"},
    {"TEXT_NOT_UTF8", "convert the text, for example with iconv -t UTF-8"},
    {"TARGET_TOO_LONG", "split the text into several targets no longer than the model's context"},
    {"TEXT_TOO_LARGE", "split the text into several targets"},
    {"SPAN_OUT_OF_RANGE",
     "spans are byte offsets in the text (or the answer), half-open, ascending and apart"},
    {"CHECKPOINT_NOT_FOUND", "`lethe model checkpoints NAME` shows a model's checkpoints"},
    {"CHECKPOINT_REMOVED",
     "`lethe model checkpoints NAME` shows which folders are there; retired_checkpoints_kept in "
     "the "
     "model's policy says how many stay"},
    {"HOLDOUT_TOO_SMALL", "give at least 16 sequences that the model never saw"},
    {"ADDRESS_MALFORMED", "write the server as host:port, 127.0.0.1:7700 for example"},
};

}  // namespace

ExitCode ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return kExitOk;
  const std::string reason = ErrorReason(status);
  if (reason == "USAGE" || reason == "ADDRESS_MALFORMED" || reason == "TLS_INCOMPLETE")
    return kExitUsage;
  if (reason == "LOCAL_DISK_FULL" || reason == "OUTPUT_CLOSED") return kExitNotWritten;
  if (reason == "STOPPED") return kExitInterrupted;
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
      return kExitUnreachable;
    default:
      return kExitRefused;
  }
}

absl::Status UsageError(std::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, "USAGE", message);
}

absl::Status NotWritten(std::string_view file, const absl::Status& why) {
  const std::string message = absl::StrCat(
      "cannot write ", absl::string_view(file.data(), file.size()), ": ", why.message());
  if (ErrorReason(why) != "DISK_FULL") return UsageError(message);
  return Error(absl::StatusCode::kResourceExhausted, "LOCAL_DISK_FULL", message);
}

std::string HintFor(const absl::Status& status) {
  const std::string reason = ErrorReason(status);
  for (const Hint& hint : kHints) {
    if (hint.reason == reason) return std::string(hint.sentence);
  }
  return "";
}

}  // namespace lethe
