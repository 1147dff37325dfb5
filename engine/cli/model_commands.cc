// eval, score, extract, generate, prepare: what a model makes of sequences.
#include <memory>
#include <optional>

#include "engine/cli/command.h"
#include "engine/cli/inputs.h"
#include "engine/cli/output.h"
#include "engine/evaluate.h"
#include "engine/generate.h"
#include "engine/prepare.h"
#include "text/tokenizer.h"

namespace lethe::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ModelFlags {
  std::string model, adapter, data;
  std::vector<int> el_n = {10};
  GenerateRequest generate;
  std::string text;
  std::string holdout, retain;
};

std::shared_ptr<ModelFlags> AddModelFlags(CLI::App* command) {
  auto flags = std::make_shared<ModelFlags>();
  command->add_option("--model", flags->model, "Hugging Face folder")->required();
  return flags;
}

CLI::Option* AddData(CLI::App* command, const std::shared_ptr<ModelFlags>& flags) {
  return command->add_option("--ids,--data", flags->data,
                             "JSON list of lists of token ids, or JSON lines of text or ids");
}

void AddAdapter(CLI::App* command, const std::shared_ptr<ModelFlags>& flags) {
  command->add_option("--adapter", flags->adapter,
                      "PEFT folder with a LoRA adapter, loaded on top");
}

void AddN(CLI::App* command, const std::shared_ptr<ModelFlags>& flags) {
  command->add_option("--n", flags->el_n, "the n of EL_n, several with commas between them")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
}

absl::StatusOr<EvaluateResult> Measure(const ModelFlags& flags, std::vector<int> el_n,
                                       bool log_probs, const Device& device) {
  EvaluateRequest request{.model_folder = flags.model,
                          .adapter_folder = flags.adapter,
                          .el_n = std::move(el_n),
                          .token_log_probs = log_probs,
                          .device = device};
  LETHE_ASSIGN_OR_RETURN(request.sequences, ReadSet(flags.data, flags.model));
  ProgressLine progress;
  return Evaluate(request, progress.Callback());
}

Json ElJson(const SequenceEvaluation& s) {
  Json el = Json::object();
  for (const auto& [n, value] : s.el) el[std::to_string(n)] = value;
  return el;
}

Json OrNull(const std::optional<double>& value) {
  return value.has_value() ? Json(*value) : Json();
}

void PrintEvaluation(const EvaluateResult& result, bool json) {
  std::vector<std::vector<std::string>> rows = {
      {"sequence", "tokens", "NLL/token", "span NLL", "MA", "span MA"}};
  const auto text = [](const std::optional<double>& v) { return v.has_value() ? Number(*v) : "-"; };
  if (!result.sequences.empty()) {
    for (const auto& [n, el] : result.sequences[0].el) rows[0].push_back("EL_" + std::to_string(n));
  }
  for (size_t i = 0; i < result.sequences.size(); ++i) {
    const SequenceEvaluation& s = result.sequences[i];
    if (json) {
      PrintJson({{"tokens", s.tokens},
                 {"nll_per_token", s.nll_per_token},
                 {"span_nll_per_token", OrNull(s.span_nll_per_token)},
                 {"ma", s.ma},
                 {"span_ma", OrNull(s.span_ma)},
                 {"el", ElJson(s)}});
      continue;
    }
    rows.push_back({std::to_string(i), std::to_string(s.tokens), Number(s.nll_per_token),
                    text(s.span_nll_per_token), Number(s.ma), text(s.span_ma)});
    for (const auto& [n, el] : s.el) rows.back().push_back(Number(el));
  }
  if (!json) PrintTable(rows);
}

absl::Status RunScore(const ModelFlags& flags, const Common& common, const Device& device) {
  LETHE_ASSIGN_OR_RETURN(const EvaluateResult result, Measure(flags, {}, true, device));
  std::vector<std::vector<std::string>> rows = {{"sequence", "tokens", "NLL"}};
  for (const SequenceEvaluation& s : result.sequences) {
    double nll = 0;
    for (const double log_prob : s.log_probs) nll -= log_prob;
    if (common.Json()) {
      PrintJson({{"nll", nll}, {"log_probs", s.log_probs}, {"argmax", s.argmax}});
    } else {
      rows.push_back(
          {std::to_string(rows.size() - 1), std::to_string(s.log_probs.size()), Number(nll, 7)});
    }
  }
  if (!common.Json()) PrintTable(rows);
  return absl::OkStatus();
}

absl::Status RunExtract(const ModelFlags& flags, const Common& common, const Device& device) {
  // As the papers define MA and EL, a prompt is text like any other.
  LETHE_ASSIGN_OR_RETURN(std::vector<Sequence> sequences, ReadSet(flags.data, flags.model));
  for (Sequence& sequence : sequences) sequence = {.ids = std::move(sequence.ids)};
  ProgressLine progress;
  LETHE_ASSIGN_OR_RETURN(const EvaluateResult result, Evaluate({.model_folder = flags.model,
                                                                .adapter_folder = flags.adapter,
                                                                .sequences = std::move(sequences),
                                                                .el_n = flags.el_n,
                                                                .device = device},
                                                               progress.Callback()));
  std::vector<std::vector<std::string>> rows = {
      {"sequence", "MA", "EL", "roll-outs", "forward tokens", "ties"}};
  for (const SequenceEvaluation& s : result.sequences) {
    if (common.Json()) {
      PrintJson({{"ma", s.ma},
                 {"el", ElJson(s)},
                 {"rollouts", s.rollouts},
                 {"forward_tokens", s.el_forward_tokens},
                 {"ties", s.ties}});
    } else {
      rows.push_back({std::to_string(rows.size() - 1), Number(s.ma), ElJson(s).dump(),
                      std::to_string(s.rollouts), std::to_string(s.el_forward_tokens),
                      std::to_string(s.ties)});
    }
  }
  if (!common.Json()) PrintTable(rows);
  return absl::OkStatus();
}

absl::Status RunGenerate(const ModelFlags& flags, const Common& common, const Device& device) {
  GenerateRequest request = flags.generate;
  request.model_folder = flags.model;
  request.adapter_folder = flags.adapter;
  request.seed = common.seed;
  request.device = device;
  std::optional<Tokenizer> tokenizer;
  if (!flags.text.empty()) {
    LETHE_ASSIGN_OR_RETURN(tokenizer, Tokenizer::Load(flags.model));
    LETHE_ASSIGN_OR_RETURN(auto ids, tokenizer->Encode(flags.text, /*add_special=*/true));
    request.prompts = {std::move(ids)};
  } else {
    LETHE_ASSIGN_OR_RETURN(const std::vector<Sequence> prompts, ReadSet(flags.data, flags.model));
    for (const Sequence& prompt : prompts) request.prompts.push_back(prompt.ids);
  }
  LETHE_ASSIGN_OR_RETURN(const auto continuations, Generate(request));
  for (const auto& ids : continuations) {
    Json line = {{"ids", ids}};
    if (tokenizer.has_value()) {
      LETHE_ASSIGN_OR_RETURN(const std::string text, tokenizer->Decode(ids));
      line["text"] = text;
      if (!common.Json()) Print(text + "\n");
    }
    if (common.Json() || !tokenizer.has_value()) PrintJson(line);
  }
  return absl::OkStatus();
}

absl::Status RunPrepare(const ModelFlags& flags, const Device& device) {
  PrepareRequest request{.model_folder = flags.model, .el_n = flags.el_n, .device = device};
  LETHE_ASSIGN_OR_RETURN(request.holdout, ReadSet(flags.holdout, flags.model));
  LETHE_ASSIGN_OR_RETURN(request.retain, ReadSet(flags.retain, flags.model));
  ProgressLine progress;
  LETHE_ASSIGN_OR_RETURN(const PrepareResult result, PrepareModel(request, progress.Callback()));
  Print(ThresholdsJson(result.thresholds) + "\n");
  return absl::OkStatus();
}

}  // namespace

void AddEval(CLI::App& app, const Common& common, Action& action) {
  auto* command = app.add_subcommand("eval", "likelihood, MA and EL_n of sequences");
  auto flags = AddModelFlags(command);
  AddAdapter(command, flags);
  AddData(command, flags)->required();
  AddN(command, flags);
  command->callback([=, &common, &action] {
    action = [=, &common](const Device& device) -> absl::Status {
      LETHE_ASSIGN_OR_RETURN(const EvaluateResult result,
                             Measure(*flags, flags->el_n, false, device));
      PrintEvaluation(result, common.Json());
      return absl::OkStatus();
    };
  });
}

void AddScore(CLI::App& app, const Common& common, Action& action) {
  auto* command = app.add_subcommand("score", "log-probability and first choice of each token");
  auto flags = AddModelFlags(command);
  AddAdapter(command, flags);
  AddData(command, flags)->required();
  command->callback([=, &common, &action] {
    action = [=, &common](const Device& device) { return RunScore(*flags, common, device); };
  });
}

void AddExtract(CLI::App& app, const Common& common, Action& action) {
  auto* command = app.add_subcommand("extract", "MA and EL_n of each sequence, and what they cost");
  auto flags = AddModelFlags(command);
  AddAdapter(command, flags);
  AddData(command, flags)->required();
  AddN(command, flags);
  command->callback([=, &common, &action] {
    action = [=, &common](const Device& device) { return RunExtract(*flags, common, device); };
  });
}

void AddGenerate(CLI::App& app, const Common& common, Action& action) {
  auto* command = app.add_subcommand(
      "generate", "continuations, greedy unless a temperature or beams are given");
  auto flags = AddModelFlags(command);
  AddAdapter(command, flags);
  auto* data = AddData(command, flags);
  auto* text = command->add_option("--prompt", flags->text, "text to continue");
  text->excludes(data);
  command->add_option("--max-new-tokens", flags->generate.max_new_tokens)
      ->check(CLI::Range(1, 100000));
  auto* temperature = command->add_option("--temperature", flags->generate.temperature)
                          ->check(CLI::Range(0.0, 10.0));
  command->add_option("--beams", flags->generate.beams, "the best of a beam search of this width")
      ->check(CLI::Range(1, 1000))
      ->excludes(temperature);
  command
      ->add_option("--stop-id", flags->generate.stop_id,
                   "a continuation ends before this token; -1: none")
      ->check(CLI::Range(-1, 10'000'000));
  command->add_option("--top-k", flags->generate.top_k)->check(CLI::Range(0, 1000000));
  command->callback([=, &common, &action] {
    if (data->empty() && text->empty()) throw CLI::RequiredError("--ids or --prompt");
    action = [=, &common](const Device& device) { return RunGenerate(*flags, common, device); };
  });
}

void AddPrepare(CLI::App& app, const Common& common, Action& action) {
  auto* command = app.add_subcommand(
      "prepare", "prints what unseen text looks like to the model, as JSON for unlearn");
  auto flags = AddModelFlags(command);
  flags->el_n = {3, 5, 10};
  command->add_option("--holdout", flags->holdout, "text of the kind that the model never saw")
      ->required();
  command->add_option("--retain", flags->retain, "text of the kind that must be kept");
  AddN(command, flags);
  command->callback(
      [=, &action] { action = [=](const Device& device) { return RunPrepare(*flags, device); }; });
}

}  // namespace lethe::cli
