#include "verifier/audit_folders.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "base/file.h"
#include "base/status.h"
#include "engine/attack.h"
#include "engine/control.h"
#include "engine/device.h"
#include "engine/ensemble.h"
#include "evidence/policy.h"
#include "evidence/report.h"
#include "evidence/report_html.h"
#include "evidence/report_text.h"
#include "text/tokenizer.h"
#include "verifier/verify_job.h"
#include "workers/host/job_input.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

struct Flags {
  std::string base, candidate, forget, control, plan, resume, out, html;
  std::vector<std::string> texts;
  int64_t max_forward_tokens = 0;
  uint64_t seed = 0;
  std::string device = "auto";
  int threads = 0;
  bool all = false, reveal = false;
};

absl::Status Refused(std::string_view reason, const std::string& message) {
  return Error(absl::StatusCode::kInvalidArgument, reason, message);
}

// The sets, tokenised as the base does.
struct Sets {
  std::optional<Tokenizer> tokenizer;  // of the base; without one, sets are of ids
  std::vector<Sequence> forget, control;
  std::vector<NamedText> texts;
};

absl::StatusOr<Sets> ReadSets(const Flags& flags) {
  Sets sets;
  std::error_code ignored;
  if (fs::exists(fs::path(flags.base) / "tokenizer.json", ignored)) {
    LETHE_ASSIGN_OR_RETURN(sets.tokenizer, Tokenizer::Load(flags.base));
  }
  const auto read = [&](const std::string& file) {
    return LoadSequences(file, sets.tokenizer.has_value() ? &*sets.tokenizer : nullptr);
  };
  LETHE_ASSIGN_OR_RETURN(sets.forget, read(flags.forget));
  LETHE_ASSIGN_OR_RETURN(sets.control, read(flags.control));
  if (sets.forget.empty()) return Refused("NOTHING_TO_FORGET", flags.forget + " has no sequence");
  for (const std::string& word : flags.texts) {
    const size_t at = word.find('=');
    if (at == std::string::npos || at == 0) {
      return Refused("BAD_PARAMETER", "--text wants NAME=FILE, as retain=retain.jsonl");
    }
    LETHE_ASSIGN_OR_RETURN(std::vector<Sequence> sequences, read(word.substr(at + 1)));
    sets.texts.push_back({word.substr(0, at), std::move(sequences)});
  }
  return sets;
}

absl::StatusOr<AttackRequest> RequestFrom(const Flags& flags, const Sets& sets,
                                          const Device& device) {
  AttackRequest request{.base_folder = flags.base,
                        .candidate_folder = flags.candidate,
                        .forgotten = sets.forget,
                        .max_forward_tokens = flags.max_forward_tokens,
                        .resume_folder = flags.resume,
                        .seed = flags.seed,
                        .device = device};
  std::span<const Sequence> retain;
  for (const NamedText& text : sets.texts) {
    if (text.name == "retain") retain = text.sequences;
    request.texts.push_back({text.name, Thinned(text.sequences, kMaxUtility)});
  }
  request.control = MatchControl(sets.forget, sets.control, retain, {.most = kMaxControl});
  request.texts.insert(request.texts.begin(), NamedText{"control", request.control});
  request.plan = flags.plan.empty() ? DefaultPlan() : PlanOf(flags.plan);
  if (!request.plan.empty()) return request;
  std::string known;
  for (const PlanEntry& entry : Plans()) known += " " + std::string(entry.name);
  return Refused("UNKNOWN_PLAN", "there is no plan '" + flags.plan + "'; there are:" + known);
}

std::string NameOf(const std::string& folder) {
  const fs::path path = fs::path(folder).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

// How the candidate was made, where its folder says so (lethe.json); others' folders do not.
v1::RunRecord RunOf(const std::string& candidate) {
  v1::RunRecord run;
  const auto text = ReadFile(fs::path(candidate) / "lethe.json", size_t{1} << 20);
  if (!text.ok()) return run;
  const auto json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  const auto word = [&](const char* name) {
    return json.is_object() && json.contains(name) && json[name].is_string()
               ? json[name].get<std::string>()
               : std::string();
  };
  const auto number = [&](const char* name) {
    return json.is_object() && json.contains(name) && json[name].is_number_integer()
               ? json[name].get<int64_t>()
               : 0;
  };
  run.set_method(word("method"));
  run.set_preset(word("preset"));
  run.set_stop_reason(word("stop_reason"));
  run.set_precision(word("precision"));
  run.set_device(word("device"));
  run.set_data_digest(word("data_digest"));
  run.set_steps(number("steps"));
  run.set_threads(static_cast<int32_t>(number("threads")));
  run.set_seed(static_cast<uint64_t>(number("seed")));
  if (!json.is_object() || !json.contains("hyperparameters")) return run;
  for (const auto& [name, value] : json["hyperparameters"].items()) {
    if (value.is_number()) (*run.mutable_hyperparameters())[name] = value.get<double>();
  }
  return run;
}

// The job that a server would have given.
absl::StatusOr<v1::Job> JobFrom(const Flags& flags, const Sets& sets) {
  v1::Job job;
  job.set_model_id(NameOf(flags.base));
  job.set_job_id("a-folders");
  v1::VerifyWork* work = job.mutable_verify();
  work->set_base_checkpoint_id(NameOf(flags.base));
  work->set_candidate_checkpoint_id(NameOf(flags.candidate));
  *work->mutable_unlearn_run() = RunOf(flags.candidate);
  LETHE_ASSIGN_OR_RETURN(*work->mutable_base_digest(), ModelDigest(flags.base));
  LETHE_ASSIGN_OR_RETURN(*work->mutable_candidate_digest(), ModelDigest(flags.candidate));
  v1::TicketPayload* ticket = work->add_tickets();
  ticket->set_ticket_id("t-folders");
  for (const Sequence& s : sets.forget) {
    v1::TokenSequence* sequence = ticket->add_sequences();
    sequence->mutable_ids()->Add(s.ids.begin(), s.ids.end());
    for (const Span& span : s.sensitive) {
      v1::Span* sensitive = sequence->add_sensitive();
      sensitive->set_begin(span.begin);
      sensitive->set_end(span.end);
    }
  }
  return job;
}

void AddSpan(int64_t begin, int64_t end, v1::Target* target) {
  v1::Span* span = target->add_sensitive_spans();
  span->set_begin(static_cast<int32_t>(begin));
  span->set_end(static_cast<int32_t>(end));
}

// A sequence as it is read back from its tokens, spans in bytes; as ids without a tokenizer.
absl::StatusOr<v1::Target> TextOf(const Sequence& s, const std::optional<Tokenizer>& tokenizer) {
  v1::Target target;
  if (!tokenizer.has_value()) {
    target.mutable_ids()->mutable_ids()->Add(s.ids.begin(), s.ids.end());
    for (const Span& span : s.sensitive) AddSpan(span.begin, span.end, &target);
    return target;
  }
  const auto words = [&](size_t end) {
    return tokenizer->Decode(std::span(s.ids).first(end), /*skip_special=*/false);
  };
  LETHE_ASSIGN_OR_RETURN(const std::string prompt, words(static_cast<size_t>(s.prompt_tokens)));
  LETHE_ASSIGN_OR_RETURN(const std::string whole, words(s.ids.size()));
  const std::string rest = whole.substr(std::min(prompt.size(), whole.size()));
  if (prompt.empty()) {
    target.set_text(rest);
  } else {
    target.mutable_prompt_answer()->set_prompt(prompt);
    target.mutable_prompt_answer()->set_answer(rest);
  }
  const auto begun = static_cast<int64_t>(prompt.size());
  for (const Span& span : s.sensitive) {
    LETHE_ASSIGN_OR_RETURN(const std::string before, words(static_cast<size_t>(span.begin)));
    LETHE_ASSIGN_OR_RETURN(const std::string through, words(static_cast<size_t>(span.end)));
    AddSpan(static_cast<int64_t>(before.size()) - begun,
            static_cast<int64_t>(through.size()) - begun, &target);
  }
  return target;
}

// A line on a terminal that overwrites itself; silent elsewhere.
class ProgressLine {
 public:
  ~ProgressLine() {
    if (shown_) std::fprintf(stderr, "\r\x1b[K");
  }
  ProgressCallback Callback() {
    if (isatty(STDERR_FILENO) == 0) return nullptr;
    return [this](const EngineProgress& p) {
      shown_ = true;
      std::fprintf(stderr, "\r\x1b[K%s %lld/%lld", p.phase.c_str(), static_cast<long long>(p.step),
                   static_cast<long long>(p.max_steps));
      return true;
    };
  }

 private:
  bool shown_ = false;
};

absl::StatusOr<v1::VerificationReport> Attack(const Flags& flags, const Sets& sets) {
  LETHE_ASSIGN_OR_RETURN(const Device device,
                         OpenDevice({.device = flags.device, .threads = flags.threads}));
  LETHE_ASSIGN_OR_RETURN(const AttackRequest request, RequestFrom(flags, sets, device));
  LETHE_ASSIGN_OR_RETURN(const v1::Job job, JobFrom(flags, sets));
  ProgressLine line;
  LETHE_ASSIGN_OR_RETURN(const AttackReport found, RunAttacks(request, line.Callback()));
  v1::Measurements measured = MeasurementsOf(job, request, found);
  measured.set_holdout_sequences(static_cast<int32_t>(sets.control.size()));
  v1::VerdictPolicy policy = WithDefaults(v1::VerdictPolicy());
  // As a service does: figures that leave out what was asked for are no sound report.
  for (const AttackSpec& spec : request.plan) {
    policy.add_required_attacks(AttackId(spec.attack, spec.condition));
  }
  return BuildReport(DeterministicBytes(measured), policy, absl::Now());
}

// True: the verdict is PASS.
absl::StatusOr<bool> Run(const Flags& flags) {
  LETHE_ASSIGN_OR_RETURN(const Sets sets, ReadSets(flags));
  LETHE_ASSIGN_OR_RETURN(const v1::VerificationReport report, Attack(flags, sets));
  LETHE_ASSIGN_OR_RETURN(const std::string text, ReportToText(report, {.all = flags.all}));
  std::printf("%s", text.c_str());
  // The figures cost minutes, so the files are tried all the same.
  const bool shown = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  const int why = errno;
  if (!flags.out.empty()) {
    LETHE_RETURN_IF_ERROR(WriteFileAtomically(flags.out, report.SerializeAsString()));
  }
  if (!flags.html.empty()) {
    std::vector<v1::Target> revealed;
    if (flags.reveal) {
      for (const Sequence& s : sets.forget) {
        LETHE_ASSIGN_OR_RETURN(revealed.emplace_back(), TextOf(s, sets.tokenizer));
      }
    }
    LETHE_ASSIGN_OR_RETURN(const std::string page, ReportToHtml(report, {.revealed = revealed}));
    LETHE_RETURN_IF_ERROR(WriteFileAtomically(flags.html, page, flags.reveal ? 0600 : 0644));
  }
  if (!shown) return SystemError("cannot write to", "standard output", why);
  return report.verdict().outcome() == v1::OUTCOME_PASS;
}

}  // namespace

int AuditFoldersMain(int argc, char** argv) {
  Flags flags;
  CLI::App app("Attacks a candidate and its base on folders alone, and judges what was found.",
               "lethe-verifier audit");
  app.add_option("--base", flags.base, "the folder before")->required();
  app.add_option("--candidate", flags.candidate, "the folder after")->required();
  app.add_option("--forget", flags.forget, "JSON lines: what was to be forgotten")->required();
  app.add_option("--control", flags.control, "JSON lines of the kind that were never trained on")
      ->required();
  app.add_option("--text", flags.texts,
                 "NAME=FILE, several: further text that must not suffer; `retain` is the kept text "
                 "of the kind, what relearning calls related");
  app.add_option("--plan", flags.plan, "of the catalogue; absent: the standard one");
  app.add_option("--max-forward-tokens", flags.max_forward_tokens,
                 "leave out the plan's end beyond this; 0: no limit")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--resume", flags.resume, "folder in which each attack is kept when it is done");
  app.add_option("--out", flags.out, "write the report, for `lethe report check FILE`");
  CLI::Option* html = app.add_option("--html", flags.html, "write a page that stands alone");
  app.add_flag("--reveal", flags.reveal,
               "show the text itself on that page; nobody else may read the file")
      ->needs(html);
  app.add_flag("--all", flags.all, "show every attack, ticket and failed gate");
  app.add_option("--seed", flags.seed, "of all random choices");
  app.add_option("--device", flags.device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--threads", flags.threads, "CPU threads; 0: one a core");
  app.footer(
      "Exit codes: 0 the verdict is PASS; 1 it is another; 2 the command line is wrong; 3 an "
      "input was refused; 4 the work failed.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const absl::StatusOr<bool> passed = Run(flags);
  if (passed.ok()) return *passed ? 0 : 1;
  std::fprintf(stderr, "lethe-verifier audit: %s [%s]\n",
               std::string(passed.status().message()).c_str(),
               ErrorReason(passed.status()).c_str());
  const bool refused = passed.status().code() == absl::StatusCode::kInvalidArgument ||
                       passed.status().code() == absl::StatusCode::kNotFound;
  return refused ? 3 : 4;
}

}  // namespace lethe
