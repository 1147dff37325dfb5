// lethe model register, get, list, checkpoints, promote, rollback
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/command.h"
#include "cli/corpus_view.h"
#include "cli/estimate_view.h"
#include "cli/exit_code.h"
#include "cli/text_table.h"
#include "evidence/policy.h"

namespace lethe {
namespace {

using Stub = v1::ModelService::StubInterface;

std::string ModelStateName(v1::ModelState state) {
  return ShortName(v1::ModelState_Name(state), "MODEL_STATE_");
}

// "74 µs", "2.5 ms", "1.2 s".
std::string ShortTime(double seconds) {
  if (seconds < 1e-3) return absl::StrFormat("%.3g µs", seconds * 1e6);
  if (seconds < 1) return absl::StrFormat("%.3g ms", seconds * 1e3);
  return absl::StrFormat("%.3g s", seconds);
}

// "el_3 0.21, el_10 0.04, ma 0.41, nll 3.2 ± 0.4 (32 sequences)".
std::string ThresholdsText(const v1::Thresholds& thresholds) {
  std::vector<int32_t> ns;
  for (const auto& [n, value] : thresholds.el()) ns.push_back(n);
  std::sort(ns.begin(), ns.end());
  std::string text;
  for (int32_t n : ns) absl::StrAppendFormat(&text, "el_%d %.3f, ", n, thresholds.el().at(n));
  absl::StrAppendFormat(&text, "ma %.3f, nll %.3f ± %.3f (%d sequences)", thresholds.ma(),
                        thresholds.nll_mean(), thresholds.nll_sd(), thresholds.sequences());
  return text;
}

// "74 µs a token of a step and 2.5 ms a step, 26 µs a token that is read; … on cpu, 2 threads".
std::string CostsText(const v1::ModelCosts& costs) {
  return absl::StrFormat(
      "%s a token of a step and %s a step, %s a token that is read, %s one that is generated; "
      "%s of weights, %s a step, %s a token of it; measured on %s, %d threads, %s",
      ShortTime(costs.train_token_seconds()), ShortTime(costs.step_seconds()),
      ShortTime(costs.score_token_seconds()), ShortTime(costs.generate_token_seconds()),
      BytesText(static_cast<double>(costs.weight_bytes())),
      BytesText(static_cast<double>(costs.step_bytes())),
      absl::StrFormat("%.3g kB", static_cast<double>(costs.token_bytes()) / 1e3), costs.device(),
      costs.threads(), BytesText(static_cast<double>(costs.memory_bytes())));
}

std::string LadderText(const v1::ModelPolicy& policy) {
  std::string text;
  for (const v1::Rung& rung : policy.ladder()) {
    absl::StrAppend(&text, text.empty() ? "" : ", then ", rung.method(), "/", rung.preset());
  }
  return text;
}

}  // namespace

void PrintModel(Cli& cli, const v1::Model& model) {
  if (cli.json()) return cli.PrintJson(model);
  std::string what;
  if (model.has_facts()) {
    const v1::ModelFacts& facts = model.facts();
    what = absl::StrCat(facts.architecture(), ", ", CountText(facts.parameters()), " parameters, ",
                        facts.dtype(), ", vocabulary ", CountText(facts.vocab_size()), ", context ",
                        CountText(facts.context_length()));
  }
  std::string state = ModelStateName(model.state());
  if (!model.failure_reason().empty()) absl::StrAppend(&state, ", ", model.failure_reason());
  std::vector<std::pair<std::string, std::string>> fields = {
      {"model", model.model_id()},
      {"state", state},
      {"what", what},
      {"generation", absl::StrCat(model.generation())},
      {"checkpoint", model.current_checkpoint_id()},
      {"folder", model.folder()},
      {"unseen text", model.has_thresholds() ? ThresholdsText(model.thresholds()) : ""},
      {"costs", model.facts().has_costs() ? CostsText(model.facts().costs()) : ""},
      {"ladder", LadderText(model.policy())},
      {"approval", model.policy().approval_required() ? "required" : ""},
      {"job", model.active_job_id()},
      {"registered", TimeText(model.create_time())},
      {"changed", TimeText(model.update_time())}};
  if (model.has_corpus()) {
    for (auto& field : CorpusFields(model.corpus())) fields.push_back(std::move(field));
  }
  PrintFields(cli.out(), fields);
  if (model.has_corpus()) PrintTeachers(cli.out(), model.corpus());
}

namespace {

struct RegisterOptions {
  std::string name, source, retain, holdout, policy;
  std::vector<std::string> others;
  bool validate_only = false, wait = false;
};

absl::StatusOr<v1::RegisterModelRequest> RegisterRequest(const RegisterOptions& options) {
  v1::RegisterModelRequest request;
  request.set_model_id(options.name);
  request.set_source_path(AbsolutePath(options.source));
  request.set_retain_path(AbsolutePath(options.retain));
  request.set_holdout_path(AbsolutePath(options.holdout));
  request.set_validate_only(options.validate_only);
  for (const std::string& other : options.others) {
    const size_t equals = other.find('=');
    if (equals == 0 || equals == std::string::npos) return UsageError("--other must be NAME=FILE");
    (*request.mutable_other_paths())[other.substr(0, equals)] =
        AbsolutePath(other.substr(equals + 1));
  }
  if (!options.policy.empty()) {
    absl::StatusOr<std::string> text = ReadFile(options.policy, 1 << 20);
    if (!text.ok()) return UsageError(absl::StrCat("cannot read ", options.policy));
    absl::StatusOr<v1::ModelPolicy> policy = ParsePolicy(*text);
    if (!policy.ok())
      return UsageError(absl::StrCat(options.policy, ": ", policy.status().message()));
    *request.mutable_policy() = *policy;
  }
  return request;
}

absl::StatusOr<v1::Model> GetModel(Cli& cli, Stub* stub, const std::string& name) {
  v1::GetModelRequest request;
  request.set_model_id(name);
  return cli.Call(stub, &Stub::GetModel, request);
}

// Until a worker has prepared it.
absl::StatusOr<int> WaitUntilReady(Cli& cli, Stub* stub, v1::Model model) {
  const Stop never;
  const Stop* stop = cli.io().stop != nullptr ? cli.io().stop : &never;
  if (!cli.json())
    cli.err() << "waiting for a worker to prepare " << model.model_id() << " ..." << std::endl;
  while (model.state() == v1::MODEL_STATE_PREPARING) {
    if (stop->WaitFor(absl::Milliseconds(250))) return StoppedError();
    LETHE_ASSIGN_OR_RETURN(model, GetModel(cli, stub, model.model_id()));
  }
  PrintModel(cli, model);
  return model.state() == v1::MODEL_STATE_READY ? kExitOk : kExitRefused;
}

absl::StatusOr<int> Register(Cli& cli, const RegisterOptions& options) {
  LETHE_ASSIGN_OR_RETURN(const v1::RegisterModelRequest request, RegisterRequest(options));
  LETHE_ASSIGN_OR_RETURN(Stub * stub, cli.Models());
  absl::StatusOr<v1::Model> model = cli.Call(stub, &Stub::RegisterModel, request, Repeat::kUnsafe);
  LETHE_RETURN_IF_ERROR(model.status());
  if (options.wait && !options.validate_only) return WaitUntilReady(cli, stub, *model);
  PrintModel(cli, *model);
  return kExitOk;
}

void AddRegister(Cli& cli, CLI::App* group) {
  CLI::App* command = cli.Add(group, "register", "Registers a model from a Hugging Face folder",
                              "  lethe model register chat --source /models/chat --retain "
                              "keep.jsonl --holdout unseen.jsonl --wait\n"
                              "  lethe model register chat --source /models/chat --retain "
                              "keep.jsonl --holdout unseen.jsonl \\\n"
                              "      --other wiki=wikitext.jsonl --policy policy.json\n"
                              "The paths are read by the server and its workers. The sets are JSON "
                              "Lines, each {\"text\": …},\n"
                              "{\"ids\": […]} or {\"prompt\": …, \"answer\": …}: retain is text of "
                              "the kind that tickets name and that\n"
                              "must be kept, holdout is text of that kind which the model never "
                              "saw (at least 16 sequences).\n");
  auto options = std::make_shared<RegisterOptions>();
  command->add_option("NAME", options->name, "[a-z0-9-], beginning with a letter")->required();
  command
      ->add_option("--source", options->source,
                   "Folder with config.json, model.safetensors, tokenizer.json")
      ->required();
  command->add_option("--retain", options->retain, "Text that must be kept")->required();
  command->add_option("--holdout", options->holdout, "Text that the model never saw")->required();
  command
      ->add_option("--other", options->others,
                   "NAME=FILE: more text that must not suffer; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--policy", options->policy,
                      "JSON file: ladder, gates, attacks; see docs/verdict.md");
  command->add_flag("--validate-only", options->validate_only,
                    "Check what can be checked, register nothing");
  command->add_flag("--wait", options->wait, "Wait until it is READY (0) or FAILED (1)");
  cli.OnRun(command, [options](Cli& cli) { return Register(cli, *options); });
}

void AddGetAndList(Cli& cli, CLI::App* group) {
  CLI::App* get = cli.Add(group, "get", "Shows one model", "  lethe model get chat\n");
  auto name = std::make_shared<std::string>();
  get->add_option("NAME", *name, "Its name")->required();
  cli.OnRun(get, [name](Cli& cli) -> absl::StatusOr<int> {
    LETHE_ASSIGN_OR_RETURN(Stub * stub, cli.Models());
    LETHE_ASSIGN_OR_RETURN(const v1::Model model, GetModel(cli, stub, *name));
    PrintModel(cli, model);
    return kExitOk;
  });

  CLI::App* list = cli.Add(group, "list", "Lists the models", "  lethe model list\n");
  cli.OnRun(list, [](Cli& cli) -> absl::StatusOr<int> {
    LETHE_ASSIGN_OR_RETURN(Stub * stub, cli.Models());
    v1::ListModelsResponse all;
    v1::ListModelsRequest request;
    request.set_page_size(1000);
    do {
      LETHE_ASSIGN_OR_RETURN(const v1::ListModelsResponse page,
                             cli.Call(stub, &Stub::ListModels, request));
      for (const v1::Model& model : page.models()) *all.add_models() = model;
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty());
    if (cli.json()) {
      cli.PrintJson(all);
      return kExitOk;
    }
    TextTable table({"MODEL", "STATE", "GENERATION", "PARAMETERS", "CHECKPOINT", "CHANGED"});
    for (const v1::Model& model : all.models()) {
      table.Add({model.model_id(), ModelStateName(model.state()), absl::StrCat(model.generation()),
                 CountText(model.facts().parameters()), model.current_checkpoint_id(),
                 TimeText(model.update_time())});
    }
    table.Print(cli.out());
    return kExitOk;
  });
}

void AddCheckpoints(Cli& cli, CLI::App* group) {
  CLI::App* command = cli.Add(group, "checkpoints", "Lists a model's checkpoints, newest first",
                              "  lethe model checkpoints chat\n");
  auto name = std::make_shared<std::string>();
  command->add_option("NAME", *name, "The model")->required();
  cli.OnRun(command, [name](Cli& cli) -> absl::StatusOr<int> {
    LETHE_ASSIGN_OR_RETURN(Stub * stub, cli.Models());
    v1::ListCheckpointsResponse all;
    v1::ListCheckpointsRequest request;
    request.set_model_id(*name);
    request.set_page_size(1000);
    do {
      LETHE_ASSIGN_OR_RETURN(const v1::ListCheckpointsResponse page,
                             cli.Call(stub, &Stub::ListCheckpoints, request));
      for (const v1::Checkpoint& checkpoint : page.checkpoints())
        *all.add_checkpoints() = checkpoint;
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty());
    if (cli.json()) {
      cli.PrintJson(all);
      return kExitOk;
    }
    TextTable table({"CHECKPOINT", "STATE", "GENERATION", "TICKETS", "CREATED", "FOLDER"});
    for (const v1::Checkpoint& checkpoint : all.checkpoints()) {
      table.Add({checkpoint.checkpoint_id(),
                 ShortName(v1::CheckpointState_Name(checkpoint.state()), "CHECKPOINT_STATE_"),
                 checkpoint.generation() == 0 ? "" : absl::StrCat(checkpoint.generation()),
                 absl::StrCat(checkpoint.tickets()), TimeText(checkpoint.create_time()),
                 checkpoint.folder_removed() ? "removed" : checkpoint.folder()});
    }
    table.Print(cli.out());
    return kExitOk;
  });
}

struct SwitchOptions {
  std::string name, checkpoint, reason;
  uint64_t generation = 0;
  bool acknowledge = false;
};

// promote and rollback take the same arguments but one.
template <typename Request>
CLI::App* AddSwitch(Cli& cli, CLI::App* group, const std::string& verb, const std::string& what,
                    const std::string& examples,
                    grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, v1::Model*),
                    std::shared_ptr<SwitchOptions> options, std::function<void(Request*)> fill) {
  CLI::App* command = cli.Add(group, verb, what, examples);
  command->add_option("NAME", options->name, "The model")->required();
  command->add_option("--checkpoint", options->checkpoint, "Its id, c-…")->required();
  command->add_option("--reason", options->reason, "Why; auditors read it: no personal data")
      ->required();
  command->add_option("--generation", options->generation,
                      "The generation you have seen; default: the present one");
  cli.OnRun(command, [=](Cli& cli) -> absl::StatusOr<int> {
    LETHE_ASSIGN_OR_RETURN(Stub * stub, cli.Models());
    Request request;
    request.set_model_id(options->name);
    request.set_checkpoint_id(options->checkpoint);
    request.set_reason(options->reason);
    request.set_expected_generation(options->generation);
    if (options->generation == 0) {
      LETHE_ASSIGN_OR_RETURN(const v1::Model present, GetModel(cli, stub, options->name));
      request.set_expected_generation(present.generation());
    }
    if (fill) fill(&request);
    LETHE_ASSIGN_OR_RETURN(const v1::Model model, cli.Call(stub, method, request, Repeat::kUnsafe));
    PrintModel(cli, model);
    return kExitOk;
  });
  return command;
}

}  // namespace

void AddModelCommands(Cli& cli, CLI::App* group) {
  AddRegister(cli, group);
  AddGetAndList(cli, group);
  AddCheckpoints(cli, group);
  AddSwitch<v1::PromoteCheckpointRequest>(
      cli, group, "promote", "Promotes a candidate past the verdict, on your word",
      "  lethe model promote chat --checkpoint c-… --reason 'reviewed by the privacy board'\n",
      &Stub::PromoteCheckpoint, std::make_shared<SwitchOptions>(), {});
  auto options = std::make_shared<SwitchOptions>();
  CLI::App* rollback = AddSwitch<v1::RollbackModelRequest>(
      cli, group, "rollback", "Makes a retired checkpoint current again",
      "  lethe model rollback chat --checkpoint c-… --reason 'answers got worse'\n",
      &Stub::RollbackModel, options, [options](v1::RollbackModelRequest* request) {
        request->set_acknowledge_reexposed(options->acknowledge);
      });
  rollback->add_flag("--acknowledge-reexposed", options->acknowledge,
                     "Yes, what was forgotten since that checkpoint comes back");
}

}  // namespace lethe
