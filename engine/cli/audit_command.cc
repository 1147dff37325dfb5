// audit: what is left in a candidate, by every attack of a plan on folders alone.
#include <memory>

#include "engine/attack.h"
#include "engine/cli/audit_records.h"
#include "engine/cli/command.h"
#include "engine/cli/inputs.h"
#include "engine/cli/output.h"

namespace lethe::cli {
namespace {

using Json = nlohmann::ordered_json;

struct AuditFlags {
  std::string base, candidate, forget, control, plan, resume;
  std::vector<std::string> texts, attacks;
  int64_t max_forward_tokens = 0;
  bool dry_run = false;
  bool costs_first = true;
  bool reveal = false;
};

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

Json BeforeAfterJson(const BeforeAfter& b) { return {{"before", b.before}, {"after", b.after}}; }

Json OutcomeJson(const AttackOutcome& a) {
  Json details = Json::object();
  for (const AttackDetail& detail : a.details) {
    details[detail.name] = {{"forgotten", BeforeAfterJson(detail.forgotten)},
                            {"control", BeforeAfterJson(detail.control)}};
  }
  Json line = {{"attack", a.attack},
               {"condition", a.condition},
               {"parameters", a.parameters},
               {"on_spans", a.on_spans},
               {"forgotten", BeforeAfterJson(a.forgotten)},
               {"control", BeforeAfterJson(a.control)},
               {"details", details},
               {"expected_forward_tokens", a.expected_forward_tokens},
               {"forward_tokens", a.forward_tokens},
               {"seconds", a.seconds}};
  if (!a.control_indexes.empty()) line["control_indexes"] = a.control_indexes;
  if (a.relearn_step_size > 0) line["relearn_step_size"] = a.relearn_step_size;
  return line;
}

void PrintExpected(const std::vector<ExpectedAttack>& expected, bool json) {
  int64_t all = 0;
  Json list = Json::array();
  std::vector<std::vector<std::string>> rows = {{"planned attack", "expected forward tokens"}};
  for (const ExpectedAttack& e : expected) {
    list.push_back({{"attack", e.attack},
                    {"condition", e.condition},
                    {"expected_forward_tokens", e.forward_tokens},
                    {"left_out", e.left_out}});
    rows.push_back(
        {NameOf(e.attack, e.condition),
         std::to_string(e.forward_tokens) + (e.left_out ? "  (beyond the budget)" : "")});
    if (!e.left_out) all += e.forward_tokens;
  }
  if (json) {
    PrintJson({{"plan", list}, {"expected_forward_tokens", all}});
    return;
  }
  rows.push_back({"all", std::to_string(all)});
  rows.emplace_back();  // an empty line behind it
  PrintTable(rows);
}

void PrintAttacks(const AttackReport& report, bool json) {
  std::vector<std::vector<std::string>> rows = {{"attack (means)", "forgotten before", "after",
                                                 "control before", "after", "expected tokens",
                                                 "forward tokens", "seconds"}};
  for (const AttackOutcome& a : report.attacks) {
    if (json) PrintJson(OutcomeJson(a));
    rows.push_back({NameOf(a.attack, a.condition), Number(Mean(a.forgotten.before)),
                    Number(Mean(a.forgotten.after)), Number(Mean(a.control.before)),
                    Number(Mean(a.control.after)), std::to_string(a.expected_forward_tokens),
                    std::to_string(a.forward_tokens), Number(a.seconds, 2)});
  }
  for (const LeftOut& left : report.left_out) {
    if (json) {
      PrintJson({{"left_out", left.attack},
                 {"condition", left.condition},
                 {"reason", left.reason},
                 {"expected_forward_tokens", left.expected_forward_tokens}});
    }
    rows.push_back({NameOf(left.attack, left.condition), "left out: " + left.reason});
    rows.back().resize(8);
  }
  rows.push_back({"NLL/token", Number(Mean(report.forgotten_nll.before)),
                  Number(Mean(report.forgotten_nll.after)), Number(Mean(report.control_nll.before)),
                  Number(Mean(report.control_nll.after)), "", "", ""});
  if (!json) PrintTable(rows);
}

void PrintTexts(const AttackReport& report, bool json) {
  std::vector<std::vector<std::string>> rows = {
      {"text", "tokens", "NLL/token before", "after", "change"}};
  for (const TextUtility& u : report.utility) {
    if (json) {
      PrintJson({{"text", u.name},
                 {"tokens", u.tokens},
                 {"nll_before", u.nll_before},
                 {"nll_after", u.nll_after}});
    }
    rows.push_back({u.name, std::to_string(u.tokens), Number(u.nll_before), Number(u.nll_after),
                    Number(100 * (u.nll_after / u.nll_before - 1), 2) + " %"});
  }
  if (json) return;
  Print("\n");
  PrintTable(rows);
}

void PrintFacts(const AttackReport& report, bool json) {
  for (const CodeChange& change : report.code_changes) {
    if (json) {
      PrintJson({{"codes_changed", change.share}, {"condition", change.condition}});
    } else {
      Print(change.condition + ": " + Number(100 * change.share, 3) +
            " % of the codes differ between base and candidate\n");
    }
  }
  if (report.forgotten_reference_nll.empty()) return;
  if (json) {
    PrintJson({{"reference_nll",
                {{"forgotten", report.forgotten_reference_nll},
                 {"control", report.control_reference_nll}}}});
  } else {
    Print("under a trigram model of retain, NLL/token: forgotten " +
          Number(Mean(report.forgotten_reference_nll)) + ", control " +
          Number(Mean(report.control_reference_nll)) + "\n");
  }
}

// --plan's rows, then those of --attack; the first plan where neither is given.
absl::StatusOr<std::vector<AttackSpec>> PlanFrom(const AuditFlags& flags) {
  std::vector<AttackSpec> plan;
  if (!flags.plan.empty()) {
    plan = PlanOf(flags.plan);
    if (plan.empty()) {
      std::string known;
      for (const PlanEntry& entry : Plans()) known += " " + std::string(entry.name);
      return Error(absl::StatusCode::kInvalidArgument, "UNKNOWN_PLAN",
                   "there is no plan '" + flags.plan + "'; there are:" + known);
    }
  }
  for (const std::string& word : flags.attacks) {
    const size_t at = word.find('@');
    plan.push_back({.attack = word.substr(0, at),
                    .condition = at == std::string::npos ? "" : word.substr(at + 1)});
  }
  return plan.empty() ? DefaultPlan() : plan;
}

absl::StatusOr<AttackRequest> RequestFrom(const AuditFlags& flags, const Common& common,
                                          const Device& device) {
  AttackRequest request{.base_folder = flags.base,
                        .candidate_folder = flags.candidate,
                        .max_forward_tokens = flags.max_forward_tokens,
                        .resume_folder = flags.resume,
                        .seed = common.seed,
                        .device = device};
  LETHE_ASSIGN_OR_RETURN(request.plan, PlanFrom(flags));
  LETHE_ASSIGN_OR_RETURN(request.forgotten, ReadSet(flags.forget, flags.base));
  LETHE_ASSIGN_OR_RETURN(request.control, ReadSet(flags.control, flags.base));
  request.texts.push_back({"control", request.control});
  for (const std::string& word : flags.texts) {
    const size_t at = word.find('=');
    if (at == std::string::npos) {
      return Error(absl::StatusCode::kInvalidArgument, "BAD_PARAMETER", "--text wants NAME=FILE");
    }
    LETHE_ASSIGN_OR_RETURN(auto sequences, ReadSet(word.substr(at + 1), flags.base));
    request.texts.push_back({word.substr(0, at), std::move(sequences)});
  }
  return request;
}

absl::Status RunAudit(const AuditFlags& flags, const Common& common, const Device& device) {
  LETHE_ASSIGN_OR_RETURN(const AttackRequest request, RequestFrom(flags, common, device));
  LETHE_ASSIGN_OR_RETURN(const auto expected, ExpectAttacks(request));
  if (flags.costs_first) PrintExpected(expected, common.Json());
  if (flags.dry_run) return absl::OkStatus();
  ProgressLine line;
  LETHE_ASSIGN_OR_RETURN(const AttackReport report, RunAttacks(request, line.Callback()));
  PrintAttacks(report, common.Json());
  PrintTexts(report, common.Json());
  PrintFacts(report, common.Json());
  return PrintRecords(
      report, request.forgotten,
      {.reveal_from = flags.reveal ? flags.base : std::string(), .json = common.Json()});
}

std::string PlanHelp() {
  std::string help = "Plans:\n";
  for (const PlanEntry& plan : Plans()) {
    help += "  " + std::string(plan.name) + ": " + std::string(plan.what) + "\n";
    for (const PlanRow& row : plan.rows) {
      help += "    " + NameOf(std::string(row.attack), std::string(row.condition)) + "\n";
    }
  }
  help += "Attacks:\n";
  for (const AttackEntry& attack : Attacks()) {
    help += "  " + std::string(attack.name) + ": " + std::string(attack.what) + "\n";
  }
  return help +
         "Conditions: int8, int4, int8-g128, int4-g128, relearned-TEXT-STEPS with TEXT one of "
         "half, "
         "related, unrelated, same\n";
}

void Add(CLI::App& app, const char* name, const char* what, bool costs_first, const Common& common,
         Action& action) {
  auto* command = app.add_subcommand(name, what);
  command->footer(PlanHelp());
  auto flags = std::make_shared<AuditFlags>();
  flags->costs_first = costs_first;
  command->add_option("--base", flags->base, "the folder before")->required();
  command->add_option("--candidate", flags->candidate, "the folder after")->required();
  command->add_option("--forget,--ids", flags->forget, "what was to be forgotten")->required();
  command->add_option("--control", flags->control, "text of the kind that was never trained on")
      ->required();
  command->add_option("--text", flags->texts,
                      "NAME=FILE, further text whose likelihood is measured; `retain` is what "
                      "relearning calls related, all other names are unrelated");
  command->add_option("--plan", flags->plan, "absent: the first, where no --attack is given");
  command->add_option("--attack", flags->attacks, "NAME[@CONDITION], more attacks or only these");
  command
      ->add_option("--max-forward-tokens", flags->max_forward_tokens,
                   "leave out the plan's end beyond this; 0: no limit")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--resume", flags->resume,
                      "folder in which each attack is kept when it is done: the same command goes "
                      "on where it was stopped");
  command->add_flag("--reveal", flags->reveal,
                    "show the forgotten text beside what each record gave away");
  command->add_flag("--costs-only", flags->dry_run, "say what it would cost, and attack nothing");
  command->callback([=, &common, &action] {
    action = [=, &common](const Device& device) { return RunAudit(*flags, common, device); };
  });
}

}  // namespace

void AddAudit(CLI::App& app, const Common& common, Action& action) {
  Add(app, "audit", "attacks a candidate and its base, on forgotten and on control text",
      /*costs_first=*/true, common, action);
  Add(app, "attack", "as audit, without saying the costs first", /*costs_first=*/false, common,
      action);
}

}  // namespace lethe::cli
