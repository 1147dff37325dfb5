// lethe-engine: trains, measures, unlearns and attacks Hugging Face folders, without a server.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "engine/cli/command.h"
#include "engine/cli/output.h"

namespace {

constexpr int kOk = 0, kUsage = 2, kRefused = 3, kFailed = 4;

constexpr char kFooter[] = R"(Examples:
  lethe-engine synth --out corpus --seed 7
  lethe-engine train --corpus corpus/corpus.jsonl --out model
  lethe-engine prepare --model model --holdout corpus/holdout.jsonl > thresholds.json
  lethe-engine unlearn --model model --forget corpus/forget.jsonl --retain corpus/retain.jsonl \
      --thresholds thresholds.json --out forgotten
  lethe-engine audit --base model --candidate forgotten --forget corpus/forget.jsonl \
      --control corpus/holdout.jsonl --text retain=corpus/retain.jsonl

Exit codes: 0 done; 2 the command line is wrong; 3 an input was refused; 4 the work failed.)";

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kOk;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kAlreadyExists:
      return kRefused;
    default:
      return kFailed;
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace lethe;
  LetThreadsSleep(argv);
  CLI::App app{"Trains, measures, unlearns and attacks language models in Hugging Face folders."};
  app.footer(kFooter);
  app.require_subcommand(1);
  app.fallthrough();
  cli::Common common;
  app.add_option("--output", common.output, "table, or json: one object a line")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  app.add_option("--device", common.device_options.device, "auto, cpu, cuda or cuda:N")
      ->capture_default_str();
  app.add_option("--threads", common.device_options.threads, "CPU threads; 0: one a core")
      ->check(CLI::Range(0, 1024));
  app.add_option("--seed", common.seed, "of all random choices")->capture_default_str();

  cli::Action action;
  cli::AddSynth(app, common, action);
  cli::AddTrain(app, common, action);
  cli::AddEval(app, common, action);
  cli::AddScore(app, common, action);
  cli::AddExtract(app, common, action);
  cli::AddGenerate(app, common, action);
  cli::AddPrepare(app, common, action);
  cli::AddUnlearn(app, common, action);
  cli::AddMerge(app, common, action);
  cli::AddTeachers(app, common, action);
  cli::AddEnsemble(app, common, action);
  cli::AddAudit(app, common, action);
  cli::AddCorpus(app, common, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kOk : kUsage;
  }

  absl::StatusOr<Device> device = OpenDevice(common.device_options);
  absl::Status status = device.ok() ? action(*device) : device.status();
  status.Update(cli::Printed());
  if (!status.ok()) {
    const std::string reason = ErrorReason(status);
    std::fprintf(stderr, "lethe-engine: %s%s%s%s\n", std::string(status.message()).c_str(),
                 reason.empty() ? "" : " [", reason.c_str(), reason.empty() ? "" : "]");
  }
  return ExitCode(status);
}
