// unlearn and merge: make a candidate.
#include <cmath>
#include <memory>

#include "engine/cli/command.h"
#include "engine/cli/inputs.h"
#include "engine/cli/output.h"
#include "engine/teacher_manifest.h"
#include "engine/teachers.h"
#include "engine/unlearn.h"

namespace lethe::cli {
namespace {

using Json = nlohmann::ordered_json;

struct UnlearnFlags {
  std::string model, forget, retain, holdout, thresholds, method = "gradient_ascent", preset, out;
  std::string precision = "auto";
  bool recompute = false;
  std::vector<std::string> set, teachers;
  std::string teachers_folder, manifest, corpus, key;
  int64_t lora_rank = 0;
  LoraConfig lora;
};

// Those of --teacher, or those of a corpus or of a manifest with what each of them saw.
absl::StatusOr<std::vector<Teacher>> TeachersOf(const UnlearnFlags& flags,
                                                const std::vector<Sequence>& forget) {
  if (flags.corpus.empty()) return ReadTeachers(flags.teachers);
  LETHE_ASSIGN_OR_RETURN(const CorpusKey key, CorpusKey::FromFile(flags.key));
  LETHE_ASSIGN_OR_RETURN(const Corpus corpus, Corpus::Open(flags.corpus, key));
  if (flags.manifest.empty()) return TeachersFor(corpus, flags.teachers_folder, forget);
  LETHE_ASSIGN_OR_RETURN(const TeacherManifest manifest,
                         TeacherManifest::Read(flags.manifest, corpus));
  return manifest.TeachersFor(corpus, forget);
}

absl::StatusOr<UnlearnRequest> MakeRequest(const UnlearnFlags& flags, const Common& common,
                                           const Device& device) {
  UnlearnRequest request{.base_folder = flags.model,
                         .out_folder = flags.out,
                         .method = flags.method,
                         .preset = flags.preset,
                         .precision = flags.precision,
                         .recompute = flags.recompute,
                         .seed = common.seed,
                         .device = device};
  LETHE_ASSIGN_OR_RETURN(request.forget, ReadSet(flags.forget, flags.model));
  LETHE_ASSIGN_OR_RETURN(request.retain, ReadSet(flags.retain, flags.model));
  LETHE_ASSIGN_OR_RETURN(request.watch, ReadSet(flags.holdout, flags.model));
  LETHE_ASSIGN_OR_RETURN(request.overrides, ReadParameters(flags.set));
  LETHE_ASSIGN_OR_RETURN(request.teachers, TeachersOf(flags, request.forget));
  if (flags.lora_rank > 0) {
    request.lora = flags.lora;
    request.lora->rank = flags.lora_rank;
  }
  if (!flags.thresholds.empty()) {
    LETHE_ASSIGN_OR_RETURN(request.thresholds, ReadThresholds(flags.thresholds));
  } else if (!flags.holdout.empty()) {
    LETHE_ASSIGN_OR_RETURN(const PrepareResult prepared, PrepareModel({.model_folder = flags.model,
                                                                       .holdout = request.watch,
                                                                       .measure_costs = false,
                                                                       .device = device}));
    request.thresholds = prepared.thresholds;
  }
  return request;
}

// What scripts read comes first; the run counts on where chunks begin again.
Json StepJson(const EngineProgress& p, int64_t step) {
  const auto figure = [&](const char* name) {
    const auto found = p.figures.find(name);
    return found == p.figures.end() ? Json() : Json(found->second);
  };
  Json line = {{"step", step},
               {"loss", figure("loss")},
               {"grad_norm", figure("grad_norm")},
               {"ma", figure("ma")},
               {"el", nullptr}};  // null: MA was above its threshold, and EL was not asked
  for (const auto& [name, value] : p.figures) {
    line[name.rfind("el_", 0) == 0 ? "el" : name] = value;
  }
  return line;
}

void PrintSummary(const UnlearnResult& result, const std::string& out, bool json) {
  if (json) {
    Json last = {{"stop_reason", result.run.stop_reason},
                 {"steps", result.run.steps},
                 {"hyperparameters", result.run.hyperparameters},
                 {"precision", result.run.precision},
                 {"out", out},
                 {"digest", result.out_digest},
                 {"retain_nll", {result.retain_nll_before, result.retain_nll_after}},
                 {"holdout_nll", {result.watch_nll_before, result.watch_nll_after}},
                 {"seconds", result.run.seconds}};
    for (size_t i = 0; i < result.before.size(); ++i) {
      last["sequences"].push_back(
          {{"nll_per_token", {result.before[i].nll_per_token, result.after[i].nll_per_token}},
           {"ma", {result.before[i].ma, result.after[i].ma}}});
    }
    if (!result.run.figures.empty()) last["figures"] = result.run.figures;
    for (const TeacherRecord& teacher : result.run.teachers) {
      last["teachers"].push_back(
          {{"digest", teacher.digest}, {"left_out_of", teacher.left_out_of}});
    }
    PrintJson(last);
    return;
  }
  const auto change = [](double before, double after) {
    return Number(before) + " -> " + Number(after);
  };
  std::vector<std::vector<std::string>> rows = {{"sequence", "NLL/token", "span NLL", "MA"}};
  for (size_t i = 0; i < result.before.size(); ++i) {
    const SequenceEvaluation &b = result.before[i], &a = result.after[i];
    rows[0].resize(4);
    rows.push_back({std::to_string(i), change(b.nll_per_token, a.nll_per_token),
                    b.span_nll_per_token.has_value()
                        ? change(*b.span_nll_per_token, *a.span_nll_per_token)
                        : "-",
                    change(b.ma, a.ma)});
    for (const auto& [n, el] : b.el) {
      rows[0].push_back("EL_" + std::to_string(n));
      rows.back().push_back(change(el, a.el.at(n)));
    }
  }
  PrintTable(rows);
  Print("\n");
  if (!result.run.figures.empty()) {
    const auto& figures = result.run.figures;
    PrintTable(
        {{"teachers", std::to_string(result.run.teachers.size())},
         {"KL from them, nats/token", change(figures.at("kl_before"), figures.at("kl_after"))},
         {"best known passage, nats",
          change(figures.at("passage_before"), figures.at("passage_after"))},
         {"mass not kept, mean/most",
          Number(figures.at("rest_mass")) + " / " + Number(figures.at("rest_mass_max"))}});
    Print("\n");
  }
  PrintTable({{"stop reason", result.run.stop_reason},
              {"steps", std::to_string(result.run.steps)},
              {"precision", result.run.precision},
              {"retain NLL/token", change(result.retain_nll_before, result.retain_nll_after)},
              {"holdout NLL/token", change(result.watch_nll_before, result.watch_nll_after)},
              {"seconds", Number(result.run.seconds, 3)},
              {"out", out},
              {"digest", result.out_digest}});
}

absl::Status RunUnlearn(const UnlearnFlags& flags, const Common& common, const Device& device) {
  LETHE_ASSIGN_OR_RETURN(const std::shared_ptr<Ranks> ranks, Ranks::FromEnvironment());
  absl::StatusOr<UnlearnRequest> made = MakeRequest(flags, common, device);
  if (!made.ok()) return ranks != nullptr ? ranks->Fail(made.status()) : made.status();
  UnlearnRequest request = *std::move(made);
  request.ranks = ranks.get();
  ProgressLine line;
  ProgressCallback progress = line.Callback();
  if (common.Json()) {
    progress = [steps = int64_t{0}](const EngineProgress& p) mutable {
      if (p.phase == "unlearning") PrintJson(StepJson(p, ++steps));
      return true;
    };
  }
  LETHE_ASSIGN_OR_RETURN(const UnlearnResult result, Unlearn(request, progress));
  if (IsFirst(ranks.get())) PrintSummary(result, flags.out, common.Json());
  return absl::OkStatus();
}

std::string MethodHelp() {
  std::string help = "Presets and parameters:\n";
  for (const MethodEntry& method : Methods()) {
    if (method.retrains) continue;  // of the service's corpora
    help += "  " + std::string(method.name) + ": " + std::string(method.what) + "\n";
    for (const PresetEntry& preset : method.presets) {
      help += "    preset " + std::string(preset.name) + ": " + std::string(preset.what) + "\n";
    }
    for (const ParameterEntry& p : method.parameters) {
      help += "    " + std::string(p.name) + " (" + Number(p.value) + "): " + std::string(p.what) +
              "\n";
    }
  }
  return help;
}

}  // namespace

void AddUnlearn(CLI::App& app, const Common& common, Action& action) {
  auto* command = app.add_subcommand("unlearn", "makes a candidate folder that has forgotten");
  command->footer(MethodHelp());
  auto flags = std::make_shared<UnlearnFlags>();
  command->add_option("--model", flags->model, "Hugging Face folder")->required();
  command->add_option("--forget,--ids", flags->forget, "what to forget")->required();
  command->add_option("--retain", flags->retain, "text of the kind that must be kept");
  command->add_option("--holdout", flags->holdout,
                      "unseen text of the kind: watched, and measured for the thresholds");
  command->add_option("--thresholds", flags->thresholds,
                      "what `prepare` printed; absent: measured on --holdout");
  command->add_option("--method", flags->method)->capture_default_str();
  command->add_option("--preset", flags->preset, "absent: the method's first");
  auto* one_by_one = command->add_option(
      "--teacher", flags->teachers,
      "FOLDER[=0,3,5], several: a model trained on a part of the data, and the "
      "sequences of --forget, counted from 0, that it saw; it is left out there");
  auto* folder = command->add_option("--teachers", flags->teachers_folder,
                                     "folder of `teachers train`; with --corpus and --key, which "
                                     "tell what each has seen");
  auto* corpus =
      command->add_option("--corpus", flags->corpus, "that the teachers were trained on");
  auto* key = command->add_option("--key", flags->key, "file of the corpus's key");
  auto* manifest = command->add_option(
      "--teachers-manifest", flags->manifest,
      "teachers.json of teachers that were trained elsewhere: folders, and which documents or "
      "shards of --corpus each saw");
  folder->needs(corpus)->needs(key)->excludes(one_by_one)->excludes(manifest);
  manifest->needs(corpus)->needs(key)->excludes(one_by_one);
  corpus->needs(key);
  key->needs(corpus);
  command->add_option("--set", flags->set, "NAME=VALUE, a parameter that differs from the preset");
  command
      ->add_option("--lora-rank", flags->lora_rank,
                   "leave the weights and unlearn into an adapter of this rank: --out becomes a "
                   "PEFT folder")
      ->check(CLI::Range(1, 1024));
  command->add_option("--lora-alpha", flags->lora.alpha, "its scale is alpha / rank")
      ->capture_default_str();
  command
      ->add_option("--lora-targets", flags->lora.targets,
                   "modules it stands beside, by the end of their names, with commas between them; "
                   "absent: every matrix of attention and MLP")
      ->delimiter(',');
  command->add_option("--out", flags->out, "folder to make")->required();
  command->add_option("--precision", flags->precision, "of the steps")
      ->check(CLI::IsMember({"auto", "fp32", "bf16", "bf16_pure"}))
      ->capture_default_str();
  command->add_flag("--recompute", flags->recompute,
                    "run each layer again in the backward pass: less memory, more time");
  command->callback([=, &common, &action] {
    if (!corpus->empty() && folder->empty() && manifest->empty()) {
      throw CLI::RequiredError("--teachers or --teachers-manifest, with --corpus");
    }
    action = [=, &common](const Device& device) { return RunUnlearn(*flags, common, device); };
  });
}

void AddMerge(CLI::App& app, const Common& common, Action& action) {
  auto* command = app.add_subcommand("merge", "writes a base with an adapter in its weights");
  auto request = std::make_shared<MergeRequest>();
  command->add_option("--model", request->base_folder, "Hugging Face folder")->required();
  command->add_option("--adapter", request->adapter_folder, "PEFT folder with a LoRA adapter")
      ->required();
  command->add_option("--out", request->out_folder, "folder to make")->required();
  command->callback([=, &common, &action] {
    action = [=, &common](const Device& device) -> absl::Status {
      request->device = device;
      LETHE_ASSIGN_OR_RETURN(const std::string digest, MergeAdapter(*request));
      const std::string out = request->out_folder.string();
      if (common.Json()) {
        PrintJson({{"out", out}, {"digest", digest}});
      } else {
        PrintTable({{"out", out}, {"digest", digest}});
      }
      return absl::OkStatus();
    };
  });
}

}  // namespace lethe::cli
