// teachers: a model for each shard of a corpus; see engine/teachers.h.
#include <cstdio>
#include <memory>
#include <optional>

#include "base/file.h"
#include "engine/checkpoint/ensemble_folder.h"
#include "engine/cli/command.h"
#include "engine/cli/inputs.h"
#include "engine/cli/output.h"
#include "engine/ensemble.h"
#include "engine/teacher_manifest.h"
#include "engine/teachers.h"
#include "engine/train.h"

namespace lethe::cli {
namespace {

constexpr char kExamples[] =
    "Examples:\n"
    "  lethe-engine teachers train --corpus data --key corpus.key --tokenizer model/tokenizer.json "
    "\\\n      --out teachers --hidden 128\n"
    "  lethe-engine teachers saw --corpus data --key corpus.key --model model --forget wish.jsonl\n"
    "  lethe-engine unlearn --method leave_one_out --model model --forget wish.jsonl --retain "
    "retain.jsonl \\\n      --teachers teachers --corpus data --key corpus.key --out forgotten\n"
    "  lethe-engine corpus erase --corpus data --key corpus.key --subject p-17\n"
    "  lethe-engine teachers train …the same… --remove-others   # what was touched, exactly\n"
    "  lethe-engine teachers train …the same… --ensemble        # teachers/ is a model: their "
    "mean\n"
    "  lethe-engine generate --model teachers --prompt \"Dear\"\n";

struct TeacherFlags {
  std::string corpus, key, out, tokenizer, config, forget, model, manifest;
  int context = 128, hidden = 128, layers = 4;
  TrainTeachersRequest request;
  bool ensemble = false;
  NearOptions near;
};

absl::StatusOr<Corpus> OpenCorpus(const TeacherFlags& flags) {
  LETHE_ASSIGN_OR_RETURN(const CorpusKey key, CorpusKey::FromFile(flags.key));
  return Corpus::Open(flags.corpus, key);
}

absl::StatusOr<TrainTeachersRequest> RequestFrom(const TeacherFlags& flags, const Corpus& corpus,
                                                 const Common& common, const Device& device) {
  TrainTeachersRequest request = flags.request;
  request.teachers_folder = flags.out;
  TrainSlicesRequest& recipe = request.recipe;
  recipe.seed = common.seed;
  recipe.device = device;
  if (!flags.tokenizer.empty()) {
    LETHE_ASSIGN_OR_RETURN(recipe.tokenizer_json, ReadFile(flags.tokenizer));
  }
  if (!flags.config.empty()) {
    LETHE_ASSIGN_OR_RETURN(recipe.config_json, ReadFile(flags.config));
  } else {
    recipe.config_json =
        SmallLlamaConfig(corpus.manifest().vocab_size, flags.context, flags.hidden, flags.layers);
  }
  return request;
}

std::string SlicesTrained(const TrainSlicesResult& result) {
  std::string list;
  for (size_t r = 0; r < result.states.size(); ++r) {
    if (!result.states[r].trained) continue;
    list += (list.empty() ? "" : " ") + std::to_string(r);
  }
  return list.empty() ? "none" : list;
}

void PrintTrained(const TeacherFlags& flags, const std::vector<ShardTraining>& trained, bool json) {
  std::vector<std::vector<std::string>> rows = {
      {"shard", "slices trained", "steps", "last loss", "states removed", "seconds"}};
  for (const ShardTraining& t : trained) {
    const SliceStateInfo& last = t.result.states.back();
    if (json) {
      nlohmann::ordered_json slices = nlohmann::ordered_json::array();
      for (size_t r = 0; r < t.result.states.size(); ++r) {
        if (t.result.states[r].trained) slices.push_back(r);
      }
      PrintJson({{"shard", t.shard},
                 {"model", TeacherFolder(flags.out, t.shard).string()},
                 {"state", last.key},
                 {"slices_trained", std::move(slices)},
                 {"steps", t.result.run.steps},
                 {"removed", t.result.removed},
                 {"damaged", t.result.damaged},
                 {"seconds", t.result.run.seconds}});
    }
    rows.push_back({std::to_string(t.shard), SlicesTrained(t.result),
                    std::to_string(t.result.run.steps), last.trained ? Number(last.last_loss) : "",
                    std::to_string(t.result.removed), Number(t.result.run.seconds, 3)});
  }
  if (!json) PrintTable(rows);
}

void PrintEnsemble(const EnsembleInfo& made, bool json) {
  if (json) {
    PrintJson(
        {{"ensemble", made.folder.string()}, {"digest", made.digest}, {"members", made.members}});
  } else {
    Print("ensemble of " + std::to_string(made.members.size()) + ": " + made.folder.string() +
          ", digest " + made.digest + "\n");
  }
}

// One that is there is kept up to date: left as it was, it would still know what was erased. Where
// other shards wait to be trained (--shard), the last one's command does it.
absl::Status RenewEnsemble(const TeacherFlags& flags, const Corpus& corpus,
                           const TrainTeachersRequest& request, bool json) {
  const bool there = IsEnsemble(flags.out);
  if (!flags.ensemble && !there) return absl::OkStatus();
  const absl::StatusOr<EnsembleInfo> made = EnsembleOfTeachers(corpus, request);
  if (made.ok()) {
    PrintEnsemble(*made, json);
    return absl::OkStatus();
  }
  if (flags.ensemble || ErrorReason(made.status()) != "TEACHER_STALE") return made.status();
  std::fprintf(stderr, "lethe-engine: the ensemble in %s is not renewed yet: %s\n",
               flags.out.c_str(), std::string(made.status().message()).c_str());
  return absl::OkStatus();
}

absl::Status RunTrainTeachers(const TeacherFlags& flags, const Common& common,
                              const Device& device) {
  LETHE_ASSIGN_OR_RETURN(const Corpus corpus, OpenCorpus(flags));
  LETHE_ASSIGN_OR_RETURN(const TrainTeachersRequest request,
                         RequestFrom(flags, corpus, common, device));
  ProgressLine line;
  LETHE_ASSIGN_OR_RETURN(const std::vector<ShardTraining> trained,
                         TrainTeachers(corpus, request, line.Callback()));
  PrintTrained(flags, trained, common.Json());
  return RenewEnsemble(flags, corpus, request, common.Json());
}

// A shard or a teacher's folder, and the places in what was asked that it saw.
struct Seen {
  nlohmann::ordered_json who;
  std::vector<size_t> places;
};

absl::StatusOr<std::vector<Seen>> WhatWasSeen(const TeacherFlags& flags, const Corpus& corpus,
                                              const std::vector<Sequence>& asked) {
  std::vector<Seen> seen;
  if (flags.manifest.empty()) {
    LETHE_ASSIGN_OR_RETURN(const ShardsThatSaw saw, WhoSaw(corpus, asked, flags.near));
    for (size_t m = 0; m < saw.sequences.size(); ++m) seen.push_back({m, saw.sequences[m]});
    return seen;
  }
  LETHE_ASSIGN_OR_RETURN(const TeacherManifest manifest,
                         TeacherManifest::Read(flags.manifest, corpus));
  LETHE_ASSIGN_OR_RETURN(const std::vector<Teacher> teachers,
                         manifest.TeachersFor(corpus, asked, flags.near));
  for (const Teacher& teacher : teachers) seen.push_back({teacher.folder.string(), teacher.saw});
  return seen;
}

absl::Status RunWhoSaw(const TeacherFlags& flags, const Common& common) {
  LETHE_ASSIGN_OR_RETURN(const Corpus corpus, OpenCorpus(flags));
  LETHE_ASSIGN_OR_RETURN(const std::vector<Sequence> forget, ReadSet(flags.forget, flags.model));
  LETHE_ASSIGN_OR_RETURN(const std::vector<Seen> seen, WhatWasSeen(flags, corpus, forget));
  const char* who = flags.manifest.empty() ? "shard" : "teacher";
  std::vector<std::vector<std::string>> rows = {{who, "saw"}};
  for (const Seen& s : seen) {
    if (common.Json()) PrintJson({{who, s.who}, {"saw", s.places}});
    std::string list;
    for (const size_t i : s.places) list += (list.empty() ? "" : ",") + std::to_string(i);
    rows.push_back({s.who.is_string() ? s.who.get<std::string>() : s.who.dump(),
                    list.empty() ? "nothing" : list});
  }
  if (!common.Json()) PrintTable(rows);
  return absl::OkStatus();
}

void AddCorpusOptions(CLI::App* command, TeacherFlags& flags) {
  command->add_option("--corpus", flags.corpus, "folder of the corpus")->required();
  command->add_option("--key", flags.key, "file of the key that the corpus was built with")
      ->required();
}

void AddTrainTeachers(CLI::App* group, const Common& common, Action& action) {
  auto* command = group->add_subcommand(
      "train", "trains what is not trained yet; after an erasure, from the touched slices on");
  auto flags = std::make_shared<TeacherFlags>();
  TrainSlicesRequest& recipe = flags->request.recipe;
  AddCorpusOptions(command, *flags);
  command->add_option("--out", flags->out, "folder of teachers; shard-N/model is one's")
      ->required();
  command->add_option("--shard", flags->request.shards, "only these; absent: all")
      ->allow_extra_args(false);
  command->add_option("--tokenizer", flags->tokenizer, "tokenizer.json of the corpus");
  command->add_option("--config", flags->config, "config.json; absent: a small Llama of the sizes");
  command->add_option("--context", flags->context, "tokens")->check(CLI::Range(8, 8192));
  command->add_option("--hidden", flags->hidden, "width, a multiple of 32")
      ->check(CLI::Range(32, 4096));
  command->add_option("--layers", flags->layers, "layers")->check(CLI::Range(1, 64));
  command->add_option("--epochs", recipe.epochs, "over a shard, in all its stages")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--batch-tokens", recipe.batch_tokens, "tokens a step");
  command->add_option("--learning-rate", recipe.learning_rate, "the peak of each stage");
  command->add_option("--precision", recipe.precision, "of the steps")
      ->check(CLI::IsMember({"auto", "fp32", "bf16", "bf16_pure"}))
      ->capture_default_str();
  command->add_flag("--recompute", recipe.recompute,
                    "run each layer again in the backward pass: less memory, more time");
  command->add_flag(
      "--ensemble", flags->ensemble,
      "makes --out a model itself, the mean of all teachers (ensemble.json); one that "
      "is there is renewed without being asked");
  command->add_flag("--remove-others", recipe.remove_others,
                    "remove states of other data in the end: after an erasure they know it still");
  command->callback([=, &common, &action] {
    action = [=, &common](const Device& device) {
      return RunTrainTeachers(*flags, common, device);
    };
  });
}

void AddMakeEnsemble(CLI::App* group, const Common& common, Action& action) {
  auto* command = group->add_subcommand("make", "copies models into a folder that is their mean");
  auto request = std::make_shared<MakeEnsembleRequest>();
  command->add_option("--member", request->members, "Hugging Face folder, several")
      ->required()
      ->allow_extra_args(false);
  command->add_option("--out", request->out_folder, "folder to make")->required();
  command->callback([=, &common, &action] {
    action = [=, &common](const Device&) -> absl::Status {
      LETHE_ASSIGN_OR_RETURN(const EnsembleInfo made, MakeEnsemble(*request));
      PrintEnsemble(made, common.Json());
      return absl::OkStatus();
    };
  });
}

void AddWhoSaw(CLI::App* group, const Common& common, Action& action) {
  auto* command = group->add_subcommand(
      "saw", "says which shards have seen sequences, or ones much like them; ask before erasing");
  auto flags = std::make_shared<TeacherFlags>();
  AddCorpusOptions(command, *flags);
  command->add_option("--forget,--ids", flags->forget, "sequences, as unlearn reads them")
      ->required();
  command->add_option("--model", flags->model, "folder whose tokenizer reads them")->required();
  command->add_option("--manifest", flags->manifest,
                      "teachers.json: says it of these teachers, which were trained elsewhere");
  command->add_option("--min-overlap", flags->near.min_overlap, "from which two are alike, 0 to 1")
      ->check(CLI::Range(0.0, 1.0));
  command->callback([=, &common, &action] {
    action = [=, &common](const Device&) { return RunWhoSaw(*flags, common); };
  });
}

}  // namespace

void AddTeachers(CLI::App& app, const Common& common, Action& action) {
  auto* group = app.add_subcommand("teachers", "a model for each shard of a corpus");
  group->require_subcommand(1);
  group->footer(kExamples);
  AddTrainTeachers(group, common, action);
  AddWhoSaw(group, common, action);
}

void AddEnsemble(CLI::App& app, const Common& common, Action& action) {
  auto* group = app.add_subcommand(
      "ensemble", "a model that is the mean probability of several; `teachers train --ensemble`");
  group->require_subcommand(1);
  AddMakeEnsemble(group, common, action);
}

}  // namespace lethe::cli
