#include "verifier/calibrate/calibrate.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"
#include "engine/attack.h"
#include "evidence/verdict.h"
#include "verifier/calibrate/known_truth.h"
#include "verifier/verify_job.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Flags {
  std::string seeds = "1-20", work, out, table;
  std::vector<std::string> kinds;
  std::string plan = std::string(Plans().front().name);
  int forget = 8, threads = 0;
  bool keep = false;
};

std::string OutcomeName(v1::Outcome outcome) {
  if (outcome == v1::OUTCOME_UNSPECIFIED) return "(not known)";
  return v1::Outcome_Name(outcome).substr(sizeof("OUTCOME_") - 1);
}

absl::StatusOr<std::pair<uint64_t, uint64_t>> SeedRange(const std::string& text) {
  unsigned long long first = 0, last = 0;
  char rest = 0;
  const int read = std::sscanf(text.c_str(), "%llu-%llu%c", &first, &last, &rest);
  if (read == 1) last = first;
  if (read < 1 || read > 2 || last < first) {
    return Error(absl::StatusCode::kInvalidArgument, "BAD_PARAMETER",
                 "--seeds wants a number or a range, as 1-20");
  }
  return std::pair<uint64_t, uint64_t>{first, last};
}

std::vector<Json> ReadLines(const std::string& file) {
  std::vector<Json> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    Json json = Json::parse(line, nullptr, false);
    if (json.is_object() && json.contains("kind")) lines.push_back(std::move(json));
  }
  return lines;
}

// Whole or not at all: a line that a full disk cut short would swallow the next one.
absl::Status AppendLine(const std::string& file, const std::string& line) {
  std::error_code error;
  const auto before = fs::exists(file, error) ? fs::file_size(file, error) : 0;
  errno = 0;
  std::ofstream out(file, std::ios::app);
  out << line << "\n" << std::flush;
  if (out) return absl::OkStatus();
  const int why = errno != 0 ? errno : EIO;
  out.close();
  fs::resize_file(file, before, error);
  return SystemError("cannot write to", file, why);
}

// The verdict that a ticket's candidate would get, under the default policy.
absl::StatusOr<Json> Audit(const World& world, const TruthRow& row, const fs::path& candidate,
                           const Flags& flags) {
  const AttackRequest request{
      .base_folder = world.base,
      .candidate_folder = candidate,
      .forgotten = world.forget,
      .control = world.holdout,
      .texts = {{"control", world.holdout}, {"retain", world.retain}, {"other", world.other}},
      .plan = PlanOf(flags.plan),
      // The base is attacked once for all candidates of a seed.
      .resume_folder = world.options.folder / "attacks",
      .seed = world.options.seed,
      .device = world.options.device};
  LETHE_ASSIGN_OR_RETURN(const AttackReport report, RunAttacks(request));
  v1::Job job;
  job.set_model_id("calibration");
  job.set_job_id("j-calibration");
  v1::TicketPayload* ticket = job.mutable_verify()->add_tickets();
  ticket->set_ticket_id("t-calibration");
  for (const Sequence& s : world.forget) {
    v1::TokenSequence* sequence = ticket->add_sequences();
    sequence->mutable_ids()->Add(s.ids.begin(), s.ids.end());
  }
  const v1::Measurements measured = MeasurementsOf(job, request, report);
  LETHE_ASSIGN_OR_RETURN(const v1::Verdict verdict, ComputeVerdict(measured, {}));
  Json failed = Json::array();
  int powerful = 0;
  for (const v1::Gate& gate : verdict.gates()) {
    if (gate.result() == v1::GATE_RESULT_FAIL) {
      failed.push_back({{"gate", gate.name()}, {"value", gate.value()}, {"limit", gate.limit()}});
    }
    powerful +=
        gate.result() == v1::GATE_RESULT_PASS &&
        (gate.failure() == v1::OUTCOME_NOT_FORGOTTEN || gate.failure() == v1::OUTCOME_HIDDEN);
  }
  return Json{{"seed", world.options.seed},
              {"kind", row.name},
              {"outcome", OutcomeName(verdict.outcome())},
              {"wanted", OutcomeName(row.wanted)},
              {"summary", verdict.summary()},
              {"failed", std::move(failed)},
              {"gates", verdict.gates_size()},
              {"held_with_power", powerful},
              {"forward_tokens", measured.forward_tokens()},
              {"seconds", report.run.seconds}};
}

void PrintTable(const std::vector<Json>& lines) {
  constexpr v1::Outcome kColumns[] = {v1::OUTCOME_PASS, v1::OUTCOME_NOT_FORGOTTEN,
                                      v1::OUTCOME_HIDDEN, v1::OUTCOME_DESTROYED,
                                      v1::OUTCOME_INCONCLUSIVE};
  std::string head = absl::StrFormat("%-18s %-14s", "truth", "wanted");
  for (const v1::Outcome column : kColumns) {
    absl::StrAppend(&head, absl::StrFormat(" %13s", OutcomeName(column)));
  }
  std::printf("%s  first gate that failed, how often\n", head.c_str());
  for (const TruthRow& row : KnownTruths()) {
    std::map<std::string, int> outcomes, gates;
    for (const Json& line : lines) {
      if (line["kind"] != row.name) continue;
      ++outcomes[line["outcome"]];
      if (!line["failed"].empty()) ++gates[line["failed"][0]["gate"]];
    }
    if (outcomes.empty()) continue;
    std::string text = absl::StrFormat("%-18s %-14s", row.name, OutcomeName(row.wanted));
    for (const v1::Outcome column : kColumns) {
      absl::StrAppend(&text, absl::StrFormat(" %13d", outcomes[OutcomeName(column)]));
    }
    const auto most =
        std::max_element(gates.begin(), gates.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; });
    if (most != gates.end()) absl::StrAppend(&text, "  ", most->first, " ", most->second);
    std::printf("%s\n", text.c_str());
  }
}

bool AsWanted(const Json& line) {
  return line["wanted"] == OutcomeName(v1::OUTCOME_UNSPECIFIED) ||
         line["outcome"] == line["wanted"];
}

bool AllAsWanted(const std::vector<Json>& lines) {
  return std::all_of(lines.begin(), lines.end(), [](const Json& line) { return AsWanted(line); });
}

absl::Status RunSeed(uint64_t seed, const Flags& flags, const Device& device,
                     const std::set<std::pair<uint64_t, std::string>>& done) {
  std::vector<const TruthRow*> rows;
  for (const TruthRow& row : KnownTruths()) {
    const bool asked = flags.kinds.empty() || std::count(flags.kinds.begin(), flags.kinds.end(),
                                                         std::string(row.name)) > 0;
    if (asked && done.count({seed, std::string(row.name)}) == 0) rows.push_back(&row);
  }
  if (rows.empty()) return absl::OkStatus();
  const fs::path folder = fs::path(flags.work) / absl::StrCat("seed-", seed);
  fs::remove_all(folder);
  LETHE_ASSIGN_OR_RETURN(
      const World world,
      MakeWorld({.seed = seed, .folder = folder, .forget = flags.forget, .device = device}));
  for (const TruthRow* row : rows) {
    LETHE_ASSIGN_OR_RETURN(const fs::path candidate, MakeCandidate(world, row->kind));
    LETHE_ASSIGN_OR_RETURN(const Json line, Audit(world, *row, candidate, flags));
    LETHE_RETURN_IF_ERROR(AppendLine(flags.out, line.dump()));
    std::printf("seed %llu  %-18s %-14s %s\n", static_cast<unsigned long long>(seed),
                std::string(row->name).c_str(), line["outcome"].get<std::string>().c_str(),
                AsWanted(line) ? "as wanted" : "NOT AS WANTED");
    std::fflush(stdout);
  }
  if (!flags.keep) fs::remove_all(folder);
  return absl::OkStatus();
}

absl::StatusOr<bool> Run(const Flags& flags) {
  if (!flags.table.empty()) {
    const std::vector<Json> lines = ReadLines(flags.table);
    PrintTable(lines);
    return AllAsWanted(lines);
  }
  LETHE_ASSIGN_OR_RETURN(const auto range, SeedRange(flags.seeds));
  LETHE_ASSIGN_OR_RETURN(const Device device, OpenDevice({.threads = flags.threads}));
  std::set<std::pair<uint64_t, std::string>> done;
  for (const Json& line : ReadLines(flags.out)) {
    done.emplace(line["seed"].get<uint64_t>(), line["kind"].get<std::string>());
  }
  for (uint64_t seed = range.first; seed <= range.second; ++seed) {
    LETHE_RETURN_IF_ERROR(RunSeed(seed, flags, device, done));
  }
  const std::vector<Json> lines = ReadLines(flags.out);
  PrintTable(lines);
  return AllAsWanted(lines);
}

}  // namespace

int CalibrateMain(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "Makes models whose truth is known, attacks and judges them, and prints how often "
      "the verdict was right.",
      "lethe-verifier calibrate");
  app.add_option("--seeds", flags.seeds, "a number or a range")->capture_default_str();
  app.add_option("--work", flags.work, "folder for the models; a seed's are removed at its end");
  app.add_option("--out", flags.out, "JSON lines, one a candidate; a run goes on behind them");
  app.add_option("--table", flags.table, "only prints the table of these JSON lines");
  app.add_option("--kind", flags.kinds, "only these kinds of truth");
  app.add_option("--plan", flags.plan, "of the catalogue")->capture_default_str();
  app.add_option("--forget", flags.forget, "records to forget")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--threads", flags.threads, "CPU threads; 0: one a core");
  app.add_flag("--keep", flags.keep, "keep the models");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (flags.table.empty() && (flags.work.empty() || flags.out.empty())) {
    std::fprintf(stderr, "lethe-verifier calibrate: --work and --out are needed\n");
    return 2;
  }
  if (PlanOf(flags.plan).empty()) {
    std::fprintf(stderr, "lethe-verifier calibrate: the catalogue has no plan '%s'\n",
                 flags.plan.c_str());
    return 2;
  }
  const absl::StatusOr<bool> right = Run(flags);
  if (!right.ok()) {
    std::fprintf(stderr, "lethe-verifier calibrate: %s\n", right.status().ToString().c_str());
    return 4;
  }
  return *right ? 0 : 1;
}

}  // namespace lethe
