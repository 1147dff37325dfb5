#include "cli/ticket_view.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/corpus_view.h"
#include "cli/estimate_view.h"
#include "cli/text_table.h"

namespace lethe {
namespace {

std::string DueText(const v1::Ticket& ticket, absl::Time now) {
  if (!ticket.has_due_time()) return "";
  const std::string due = TimeText(ticket.due_time());
  if (ticket.has_end_time()) return due;
  const absl::Time time = FromTimestamp(ticket.due_time());
  return absl::StrCat(due, time < now ? ", OVERDUE: " : ", ", RelativeText(time, now));
}

// "UNLEARNING (held)".
std::string StateText(const v1::Ticket& ticket) {
  std::string text = StateName(ticket.state());
  if (ticket.reason() != v1::TICKET_REASON_UNSPECIFIED) {
    absl::StrAppend(&text, ", ", ReasonName(ticket.reason()));
  }
  if (ticket.held()) text += " (held)";
  return text;
}

// What a watcher reads of the state: of ERASING also what is being erased.
std::string WatchedText(const v1::Ticket& ticket) {
  std::string text = StateText(ticket);
  if (ticket.state() == v1::TICKET_STATE_ERASING && ticket.has_corpus()) {
    absl::StrAppend(&text, " ", PlaceText(ticket.corpus()));
  }
  return text;
}

std::string LimitsText(const v1::Limits& limits) {
  return absl::StrCat(CountText(limits.max_text_bytes()), " bytes of text, ",
                      CountText(limits.max_target_tokens()), " tokens a target, ",
                      CountText(limits.max_targets_per_ticket()), " targets and ",
                      CountText(limits.max_ticket_tokens()), " tokens a ticket, ",
                      CountText(limits.max_tickets_per_batch()), " tickets a batch");
}

}  // namespace

std::string StateName(v1::TicketState state) {
  return ShortName(v1::TicketState_Name(state), "TICKET_STATE_");
}

std::string ReasonName(v1::TicketReason reason) {
  if (reason == v1::TICKET_REASON_UNSPECIFIED) return "";
  return ShortName(v1::TicketReason_Name(reason), "TICKET_REASON_");
}

void PrintTicket(Cli& cli, const v1::Ticket& ticket) {
  if (cli.json()) return cli.PrintJson(ticket);
  const bool filed = !ticket.ticket_id().empty();
  const std::string size = absl::StrCat(CountOf(ticket.sequences(), "sequence"), ", ",
                                        CountText(ticket.tokens()), " tokens");
  std::vector<std::pair<std::string, std::string>> fields = {
      {"ticket", ticket.ticket_id()},
      {"model", ticket.model_id()},
      {"state", filed ? StateText(ticket) : "valid; nothing was filed"},
      {"size", size},
      {"corpus", ticket.has_corpus() ? TouchText(ticket.corpus(), ticket.state()) : ""},
      {"law", ShortName(v1::Regulation_Name(ticket.regulation()), "REGULATION_")},
      {"reference", ticket.external_reference()},
      {"asked", TimeText(ticket.request_time())},
      {"filed", TimeText(ticket.create_time())},
      {"due", DueText(ticket, cli.now())},
      {"ended", TimeText(ticket.end_time())},
      {"rung", filed ? absl::StrCat(ticket.rung()) : ""},
      {"job", ticket.job_id()},
      {"checkpoint", ticket.checkpoint_id()},
      {"reports", absl::StrJoin(ticket.report_ids(), " ")},
      {"progress", ticket.has_progress() ? ProgressText(ticket.progress()) : ""},
      {"payload", ticket.payload_destroyed() ? "destroyed" : ""},
      {"etag", ticket.etag()},
  };
  if (ticket.has_preview()) {
    const v1::TicketPreview& preview = ticket.preview();
    fields.push_back({"tokens", absl::StrJoin(preview.target_tokens(), ", ")});
    fields.push_back({"method", preview.first_rung()});
    if (preview.has_corpus()) {
      for (auto& field : PreviewFields(preview.corpus())) fields.push_back(std::move(field));
    }
    for (auto& field : EstimateFields(preview)) fields.push_back(std::move(field));
    fields.push_back({"limits", LimitsText(preview.limits())});
  }
  PrintFields(cli.out(), fields);
}

std::string ProgressBar(int64_t step, int64_t max_steps) {
  constexpr int kCells = 20;
  const double share = max_steps <= 0 ? 0 : std::clamp(double(step) / double(max_steps), 0.0, 1.0);
  const int full = static_cast<int>(share * kCells);
  return absl::StrCat("[", std::string(full, '#'), std::string(kCells - full, '.'), "]");
}

std::string ProgressText(const v1::Progress& progress) {
  std::string text = progress.phase();
  if (progress.max_steps() > 0) {
    absl::StrAppend(&text, " ", ProgressBar(progress.step(), progress.max_steps()), " ",
                    progress.step(), "/", progress.max_steps());
  } else if (progress.step() > 0) {
    absl::StrAppend(&text, " step ", progress.step());
  }
  std::vector<std::string> names;
  for (const auto& [name, value] : progress.figures()) names.push_back(name);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    absl::StrAppend(&text, "  ", name, " ", absl::StrFormat("%.4g", progress.figures().at(name)));
  }
  return text;
}

void ProgressView::Show(const v1::Ticket& ticket) {
  if (cli_->json()) {
    cli_->PrintJson(ticket, /*compact=*/true);
    cli_->out().flush();
    return;
  }
  if (!cli_->io().terminal) return ShowPlain(ticket);
  std::string line = WatchedText(ticket);
  if (ticket.has_progress()) absl::StrAppend(&line, "  ", ProgressText(ticket.progress()));
  if (line.size() > 118) line.resize(118);
  cli_->err() << "\r\x1b[K" << line << std::flush;
  drawn_ = true;
}

void ProgressView::ShowPlain(const v1::Ticket& ticket) {
  // One line a state and phase, and one a tenth of a phase's steps.
  std::string key = WatchedText(ticket);
  std::string line = key;
  if (ticket.has_progress()) {
    const v1::Progress& progress = ticket.progress();
    const int64_t tenth =
        progress.max_steps() > 0 ? progress.step() * 10 / progress.max_steps() : 0;
    absl::StrAppend(&key, "|", progress.phase(), "|", tenth);
    absl::StrAppend(&line, "  ", ProgressText(progress));
  }
  if (key == last_) return;
  last_ = key;
  cli_->err() << line << std::endl;
}

void ProgressView::Done() {
  if (drawn_) cli_->err() << std::endl;
  drawn_ = false;
}

}  // namespace lethe
