// lethe corpus register
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/command.h"
#include "cli/corpus_view.h"
#include "cli/exit_code.h"

namespace lethe {
namespace {

using Stub = v1::ModelService::StubInterface;

constexpr char kExamples[] =
    "  lethe corpus register --model chat --source people.jsonl --shards 4 --wait\n"
    "  lethe corpus register --model chat --source 2025.jsonl --source 2026.jsonl --shards 4 "
    "--slices 4 \\\n"
    "      --teacher-hidden 64 --teacher-layers 2 --teacher-context 128 --validate-only\n"
    "The files are read by the server and its workers: JSON Lines of what the model was trained "
    "on, in the\n"
    "order of its arrival, each {\"text\": …, \"subject\": \"p-17\", \"document\": \"mail-3\"}. "
    "The "
    "subject is the person;\n"
    "the document may be left out. docs/corpus.md and docs/teachers.md say how to choose.\n";

struct RegisterOptions {
  std::string model;
  std::vector<std::string> sources;
  int shards = 0, slices = 0;  // 0 here and below: the server's default
  bool document_parts = false;
  int hidden = 0, layers = 0, context = 0;
  double epochs = 0, learning_rate = 0;
  int64_t batch_tokens = 0;
  uint64_t seed = 0;
  bool base = false;
  double base_epochs = 0, base_learning_rate = 0;
  int64_t base_batch_tokens = 0;
  uint64_t base_seed = 0;
  bool validate_only = false, wait = false;
};

v1::RegisterCorpusRequest RequestOf(const RegisterOptions& options) {
  v1::RegisterCorpusRequest request;
  request.set_model_id(options.model);
  for (const std::string& source : options.sources) request.add_source_paths(AbsolutePath(source));
  v1::CorpusOptions& corpus = *request.mutable_options();
  corpus.set_shards(options.shards);
  corpus.set_slices(options.slices);
  corpus.set_document_parts(options.document_parts);
  v1::TeacherOptions& teachers = *request.mutable_teachers();
  teachers.set_hidden_size(options.hidden);
  teachers.set_layers(options.layers);
  teachers.set_context_length(options.context);
  teachers.set_epochs(options.epochs);
  teachers.set_learning_rate(options.learning_rate);
  teachers.set_batch_tokens(options.batch_tokens);
  teachers.set_seed(options.seed);
  if (options.base) {
    request.mutable_base()->set_epochs(options.base_epochs);
    request.mutable_base()->set_learning_rate(options.base_learning_rate);
    request.mutable_base()->set_batch_tokens(options.base_batch_tokens);
    request.mutable_base()->set_seed(options.base_seed);
  }
  request.set_validate_only(options.validate_only);
  return request;
}

bool IsUnderWay(const v1::Model& model) {
  return model.corpus().state() == v1::CORPUS_STATE_READING ||
         model.corpus().state() == v1::CORPUS_STATE_TRAINING;
}

// Until workers have read it and trained its teachers. A line for each change.
absl::StatusOr<int> WaitUntilReady(Cli& cli, Stub* stub, v1::Model model) {
  const Stop never;
  const Stop* stop = cli.io().stop != nullptr ? cli.io().stop : &never;
  v1::GetModelRequest request;
  request.set_model_id(model.model_id());
  std::string last;
  for (;;) {
    const std::string state = CorpusStateText(model.corpus());
    if (!cli.json() && state != last) cli.err() << state << std::endl;
    last = state;
    if (!IsUnderWay(model)) break;
    if (stop->WaitFor(absl::Milliseconds(250))) return StoppedError();
    LETHE_ASSIGN_OR_RETURN(model, cli.Call(stub, &Stub::GetModel, request));
  }
  PrintModel(cli, model);
  return model.corpus().state() == v1::CORPUS_STATE_READY ? kExitOk : kExitRefused;
}

absl::StatusOr<int> Register(Cli& cli, const RegisterOptions& options) {
  LETHE_ASSIGN_OR_RETURN(Stub * stub, cli.Models());
  LETHE_ASSIGN_OR_RETURN(const v1::Model model, cli.Call(stub, &Stub::RegisterCorpus,
                                                         RequestOf(options), Repeat::kUnsafe));
  if (options.wait && !options.validate_only) return WaitUntilReady(cli, stub, model);
  PrintModel(cli, model);
  return kExitOk;
}

// What is 0 or absent is chosen by the server.
void AddTeacherOptions(CLI::App* command, RegisterOptions* options) {
  command->add_option("--teacher-hidden", options->hidden, "Width of a teacher; default: 128")
      ->check(CLI::PositiveNumber);
  command->add_option("--teacher-layers", options->layers, "Layers of a teacher; default: 4")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--teacher-context", options->context,
                   "Longest sequence, tokens; default: the model's, at most 1,024")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--teacher-epochs", options->epochs,
                   "How often a teacher reads its shard; default: 8")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--teacher-learning-rate", options->learning_rate,
                   "The highest rate of each slice's schedule; default: 0.001")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--teacher-batch-tokens", options->batch_tokens,
                   "Tokens of a step; default: 4,096")
      ->check(CLI::PositiveNumber);
  command->add_option("--teacher-seed", options->seed,
                      "Of weights and order; default: the server draws one");
}

// For the rung `retrain`: any of them says that the model can be trained again.
void AddBaseOptions(CLI::App* command, RegisterOptions* options) {
  const auto positive = [&](const char* name, auto& value, const char* what) {
    command->add_option(name, value, what)
        ->check(CLI::PositiveNumber)
        ->each([options](const std::string&) { options->base = true; });
  };
  command->add_flag("--base", options->base,
                    "The model itself may be trained again on it, from nothing, by the rung "
                    "`retrain`: with these options, or their defaults");
  positive("--base-epochs", options->base_epochs, "How often it reads the corpus; default: 8");
  positive("--base-learning-rate", options->base_learning_rate,
           "The highest rate of each slice's schedule; default: 0.001");
  positive("--base-batch-tokens", options->base_batch_tokens, "Tokens of a step; default: 4,096");
  positive("--base-seed", options->base_seed,
           "Of weights and order; default: the server draws one");
}

}  // namespace

void AddCorpusCommands(Cli& cli, CLI::App* group) {
  CLI::App* command = cli.Add(
      group, "register",
      "Registers what a model was trained on; workers train a teacher for each shard", kExamples);
  auto options = std::make_shared<RegisterOptions>();
  command->add_option("--model", options->model, "The model, which must be READY")->required();
  command->add_option("--source", options->sources, "File of JSON Lines; may be repeated, in order")
      ->required()
      ->allow_extra_args(false);
  command->add_option("--shards", options->shards, "Parts by person, a teacher each; default: 8")
      ->check(CLI::PositiveNumber);
  command->add_option("--slices", options->slices, "Parts of each shard by arrival; default: 4")
      ->check(CLI::PositiveNumber);
  command->add_flag("--document-parts", options->document_parts,
                    "Lines of one document are its parts; else a document that comes twice is "
                    "refused");
  AddTeacherOptions(command, options.get());
  AddBaseOptions(command, options.get());
  command->add_flag("--validate-only", options->validate_only,
                    "Check what can be checked, register nothing");
  command->add_flag("--wait", options->wait, "Wait until it is READY (0) or FAILED (1)");
  cli.OnRun(command, [options](Cli& cli) { return Register(cli, *options); });
}

}  // namespace lethe
