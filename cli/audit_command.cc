// lethe audit
#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/target_options.h"
#include "cli/ticket_view.h"
#include "client/error_info.h"
#include "evidence/report.h"
#include "evidence/report_html.h"
#include "evidence/report_json.h"
#include "evidence/report_text.h"

namespace lethe {
namespace {

constexpr char kExamples[] =
    "  # does the current checkpoint still know it?\n"
    "  lethe audit --model chat --text-file wish.txt --sensitive '555-0100'\n"
    "  # an older checkpoint, a sequence for each line, the report kept\n"
    "  lethe audit --model chat --checkpoint c-… --from-jsonl wishes.jsonl --out report.pb\n"
    "  lethe report check report.pb\n"
    "  # all that the model's corpus has of a person\n"
    "  lethe audit --model chat --subject p-17\n"
    "  # only what the greedy attack sees, within a budget\n"
    "  lethe audit --model chat --ids 5,8,13,21 --attack greedy_extraction "
    "--max-forward-tokens 100000\n"
    "Exit code 0 only for the verdict PASS. Nothing is kept by the server; Ctrl-C cancels the "
    "audit.\n"
    "Words on the command line can be seen by other users of this machine: prefer files or -.\n";

struct AuditOptions {
  std::string model, checkpoint, base;
  TargetOptions targets;
  std::string plan;
  std::vector<std::string> attacks;
  int64_t max_forward_tokens = 0;
  uint64_t seed = 0;
  std::string out_file, html_file;
  bool all = false;     // every attack
  bool reveal = false;  // the forgotten text, on the page
};

// "greedy_extraction" or "greedy_extraction@int4".
v1::AttackSpec AttackOf(const std::string& name) {
  v1::AttackSpec spec;
  const size_t at = name.find('@');
  spec.set_attack(name.substr(0, at));
  if (at != std::string::npos) spec.set_condition(name.substr(at + 1));
  return spec;
}

absl::StatusOr<v1::AuditCheckpointRequest> RequestOf(Cli& cli, const AuditOptions& options) {
  LETHE_ASSIGN_OR_RETURN(const TargetList list,
                         ReadTargets(cli, options.targets, "say what to look for"));
  v1::AuditCheckpointRequest request;
  request.set_model_id(options.model);
  request.set_checkpoint_id(options.checkpoint);
  request.set_base_checkpoint_id(options.base);
  for (const v1::Target& target : list.flags) *request.add_targets() = target;
  for (const TargetLine& line : list.lines) *request.add_targets() = line.target;
  const auto of_corpus = [](const v1::Target& t) { return t.has_subject() || t.has_document(); };
  if (options.reveal &&
      std::any_of(request.targets().begin(), request.targets().end(), of_corpus)) {
    return UsageError("--reveal shows text that you give; of a person or document it is not here");
  }
  request.set_attack_plan(options.plan);
  for (const std::string& attack : options.attacks) *request.add_attacks() = AttackOf(attack);
  request.set_max_forward_tokens(options.max_forward_tokens);
  request.set_seed(options.seed);
  return request;
}

// Progress on the error stream, the report alone on the output: a line that is redrawn on a terminal,
// elsewhere one for each stage and for each tenth of it.
class AuditView {
 public:
  explicit AuditView(Cli* cli) : cli_(cli) {}
  void Show(const v1::AuditProgress& progress) {
    v1::Progress shown;
    shown.set_phase(progress.stage());
    shown.set_step(progress.done());
    shown.set_max_steps(progress.total());
    if (cli_->io().terminal) {
      cli_->err() << "\r\x1b[K" << ProgressText(shown) << std::flush;
      drawn_ = true;
      return;
    }
    const int64_t tenth = progress.total() > 0 ? progress.done() * 10 / progress.total() : 0;
    const std::string key = absl::StrCat(progress.stage(), "|", tenth);
    if (key == last_) return;
    last_ = key;
    cli_->err() << ProgressText(shown) << std::endl;
  }
  void Done() {
    if (drawn_) cli_->err() << std::endl;
    drawn_ = false;
  }

 private:
  Cli* const cli_;
  std::string last_;
  bool drawn_ = false;
};

// One call, no repeats: an audit costs minutes, and the caller sees how it ended.
absl::StatusOr<v1::VerificationReport> Run(Cli& cli, const v1::AuditCheckpointRequest& request) {
  LETHE_ASSIGN_OR_RETURN(v1::VerifierService::StubInterface * stub, cli.Verifier());
  grpc::ClientContext context;  // no deadline: it takes as long as the attacks take
  std::optional<Stop::Subscription> cancel;
  if (cli.io().stop != nullptr) cancel.emplace(cli.io().stop, [&] { context.TryCancel(); });
  const auto stream = stub->AuditCheckpoint(&context, request);
  AuditView view(&cli);
  std::optional<v1::VerificationReport> report;
  for (v1::AuditCheckpointResponse response; stream->Read(&response);) {
    if (response.has_progress()) view.Show(response.progress());
    if (response.has_report()) report = std::move(*response.mutable_report());
  }
  view.Done();
  const absl::Status status = FromGrpc(stream->Finish());
  if (cli.io().stop != nullptr && cli.io().stop->requested()) return StoppedError();
  LETHE_RETURN_IF_ERROR(status);
  if (!report.has_value()) {
    return Error(absl::StatusCode::kInternal, "NO_REPORT", "the audit ended without a report");
  }
  return *std::move(report);
}

absl::Status Write(const std::string& file, const std::string& content, int mode = 0644) {
  const absl::Status written = WriteFileAtomically(file, content, mode);
  return written.ok() ? written : NotWritten(file, written);
}

// The text stands on the page only where it was asked for: it is the caller's own, and no server
// gives it back. Such a page is for its owner's eyes.
absl::Status WritePage(const AuditOptions& options, const v1::AuditCheckpointRequest& request,
                       const v1::VerificationReport& report) {
  const std::vector<v1::Target> targets(request.targets().begin(), request.targets().end());
  HtmlOptions html;
  if (options.reveal) html.revealed = targets;
  LETHE_ASSIGN_OR_RETURN(const std::string page, ReportToHtml(report, html));
  return Write(options.html_file, page, options.reveal ? 0600 : 0644);
}

absl::StatusOr<int> Audit(Cli& cli, const AuditOptions& options) {
  LETHE_ASSIGN_OR_RETURN(const v1::AuditCheckpointRequest request, RequestOf(cli, options));
  LETHE_ASSIGN_OR_RETURN(const v1::VerificationReport report, Run(cli, request));
  // What the report says is shown before a file may fail: the figures cost minutes.
  if (cli.json()) {
    LETHE_ASSIGN_OR_RETURN(const std::string json, ReportToJson(report));
    cli.out() << json << (json.empty() || json.back() != '\n' ? "\n" : "");
  } else {
    LETHE_ASSIGN_OR_RETURN(const std::string text,
                           ReportToText(report, {.colour = cli.io().colour, .all = options.all}));
    cli.out() << text;
  }
  if (!options.out_file.empty()) {
    LETHE_RETURN_IF_ERROR(Write(options.out_file, report.SerializeAsString()));
  }
  if (!options.html_file.empty()) {
    LETHE_RETURN_IF_ERROR(WritePage(options, request, report));
  }
  // Recomputed here: no server is trusted with the exit code.
  LETHE_ASSIGN_OR_RETURN(const ReportCheck check, CheckReport(report));
  if (!check.sound()) {
    for (const std::string& difference : check.differences) cli.err() << difference << "\n";
    return kExitUnsound;
  }
  return check.verdict.outcome() == v1::OUTCOME_PASS ? kExitOk : kExitRefused;
}

}  // namespace

void AddAudit(Cli& cli) {
  CLI::App* command =
      cli.Add(cli.root(), "audit", "Attacks a checkpoint now: what does it still know?", kExamples);
  auto options = std::make_shared<AuditOptions>();
  command->add_option("--model", options->model, "Whose checkpoint")->required();
  command->add_option("--checkpoint", options->checkpoint,
                      "What is attacked; default: the current");
  command->add_option("--base", options->base,
                      "A checkpoint that knew the text; default: the registered one");
  AddTargetOptions(command, &options->targets, "What the model should not answer");
  command->add_option("--plan", options->plan,
                      "A plan of attacks, see docs/attacks.md; default: the model's policy");
  command
      ->add_option("--attack", options->attacks,
                   "One attack, NAME or NAME@CONDITION, instead of a plan; may be repeated")
      ->allow_extra_args(false);
  command
      ->add_option("--max-forward-tokens", options->max_forward_tokens,
                   "Attacks beyond so many are left out; default: the model's policy")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--seed", options->seed, "Seed of all random choices; default: drawn");
  command->add_option("--out", options->out_file,
                      "Write the report, for `lethe report check FILE`");
  CLI::Option* html = command->add_option("--html", options->html_file,
                                          "Write a page with plots that stands alone");
  command
      ->add_flag(
          "--reveal", options->reveal,
          "Show the text itself on that page, beside what each record gave away; nobody else "
          "may read the file")
      ->needs(html);
  command->add_flag("--all", options->all, "Show every attack, ticket and failed gate");
  cli.OnRun(command, [options](Cli& cli) { return Audit(cli, *options); });
}

}  // namespace lethe
