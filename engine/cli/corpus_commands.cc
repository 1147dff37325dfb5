// synth and train: a corpus and a model from nothing.
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "base/file.h"
#include "engine/checkpoint/decoder_config.h"
#include "engine/cli/command.h"
#include "engine/cli/inputs.h"
#include "engine/cli/output.h"
#include "engine/synth_corpus.h"
#include "engine/train.h"
#include "text/tokenizer.h"

namespace lethe::cli {
namespace {

struct TrainFlags {
  std::string corpus, out, base, tokenizer;
  int vocab_size = 1024, context = 128, hidden = 128, layers = 4;
  TrainRequest request;
};

// The texts of a corpus, each once, to train a tokenizer on: repeated ones would get tokens of
// their own.
absl::StatusOr<std::vector<std::string>> CorpusTexts(const std::string& file) {
  LETHE_ASSIGN_OR_RETURN(const std::string content, ReadFile(file));
  std::vector<std::string> texts;
  std::set<std::string> seen;
  for (size_t begin = 0; begin < content.size();) {
    const size_t end = std::min(content.find('\n', begin), content.size());
    const auto line = nlohmann::json::parse(content.substr(begin, end - begin), nullptr, false);
    if (line.is_object() && line.contains("text") && line["text"].is_string()) {
      const auto [text, is_new] = seen.insert(line["text"].get<std::string>());
      if (is_new) texts.push_back(*text);
    }
    begin = end + 1;
  }
  return texts;
}

absl::Status MakeTokenizer(const TrainFlags& flags, TrainRequest& request) {
  if (!flags.tokenizer.empty()) {
    LETHE_ASSIGN_OR_RETURN(request.tokenizer_json, ReadFile(flags.tokenizer));
    return absl::OkStatus();
  }
  LETHE_ASSIGN_OR_RETURN(const std::vector<std::string> texts, CorpusTexts(flags.corpus));
  LETHE_ASSIGN_OR_RETURN(request.tokenizer_json, TrainBpe(texts, {.vocab_size = flags.vocab_size}));
  return absl::OkStatus();
}

absl::StatusOr<TrainRequest> MakeTrainRequest(const TrainFlags& flags, const Common& common,
                                              const Device& device) {
  TrainRequest request = flags.request;
  request.out_folder = flags.out;
  request.base_folder = flags.base;
  request.seed = common.seed;
  request.device = device;
  if (flags.base.empty()) {
    LETHE_RETURN_IF_ERROR(MakeTokenizer(flags, request));
    LETHE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::FromJson(request.tokenizer_json));
    request.config_json =
        SmallLlamaConfig(tokenizer.vocab_size(), flags.context, flags.hidden, flags.layers);
    LETHE_ASSIGN_OR_RETURN(request.sequences,
                           LoadSequences(flags.corpus, &tokenizer, {.max_tokens = flags.context}));
  } else {
    LETHE_ASSIGN_OR_RETURN(request.sequences, ReadSet(flags.corpus, flags.base));
  }
  return request;
}

absl::Status RunTrain(const TrainFlags& flags, const Common& common, const Device& device) {
  LETHE_ASSIGN_OR_RETURN(const std::shared_ptr<Ranks> ranks, Ranks::FromEnvironment());
  absl::StatusOr<TrainRequest> made = MakeTrainRequest(flags, common, device);
  if (!made.ok()) return ranks != nullptr ? ranks->Fail(made.status()) : made.status();
  TrainRequest request = *std::move(made);
  request.ranks = ranks.get();
  ProgressLine progress;
  LETHE_ASSIGN_OR_RETURN(const TrainResult result, Train(request, progress.Callback()));
  if (!IsFirst(ranks.get())) return absl::OkStatus();
  if (common.Json()) {
    PrintJson({{"out", flags.out},
               {"digest", result.out_digest},
               {"parameters", result.parameters},
               {"steps", result.run.steps},
               {"precision", result.run.precision},
               {"first_loss", result.first_loss},
               {"last_loss", result.last_loss},
               {"seconds", result.run.seconds}});
  } else {
    PrintTable({{"out", "parameters", "steps", "precision", "first loss", "last loss", "seconds"},
                {flags.out, std::to_string(result.parameters), std::to_string(result.run.steps),
                 result.run.precision, Number(result.first_loss), Number(result.last_loss),
                 Number(result.run.seconds, 3)}});
  }
  return absl::OkStatus();
}

}  // namespace

void AddSynth(CLI::App& app, const Common& common, Action& action) {
  auto* command = app.add_subcommand(
      "synth",
      "writes a corpus of invented people and background text: corpus.jsonl, forget.jsonl, "
      "retain.jsonl, holdout.jsonl, other.jsonl");
  auto options = std::make_shared<SynthOptions>();
  auto out = std::make_shared<std::string>();
  command->add_option("--out", *out, "folder to write to")->required();
  command->add_option("--forget", options->forget, "records to forget")->check(CLI::Range(1, 1000));
  command->add_option("--repeats", options->forget_repeats, "how often each stands in the corpus")
      ->check(CLI::Range(1, 1000));
  command->callback([=, &common, &action] {
    action = [=, &common](const Device&) -> absl::Status {
      options->seed = common.seed;
      const SynthCorpus corpus = MakeSynthCorpus(*options);
      LETHE_RETURN_IF_ERROR(WriteSynthCorpus(corpus, *out));
      if (common.Json()) {
        PrintJson({{"out", *out},
                   {"train", corpus.train.size()},
                   {"forget", corpus.forget.size()},
                   {"retain", corpus.retain.size()},
                   {"holdout", corpus.holdout.size()},
                   {"other", corpus.other.size()}});
      } else {
        PrintTable({{"file", "texts"},
                    {"corpus.jsonl", std::to_string(corpus.train.size())},
                    {"forget.jsonl", std::to_string(corpus.forget.size())},
                    {"retain.jsonl", std::to_string(corpus.retain.size())},
                    {"holdout.jsonl", std::to_string(corpus.holdout.size())},
                    {"other.jsonl", std::to_string(corpus.other.size())}});
      }
      return absl::OkStatus();
    };
  });
}

void AddTrain(CLI::App& app, const Common& common, Action& action) {
  auto* command = app.add_subcommand(
      "train",
      "trains a small Llama from nothing, with a tokenizer of its own, or goes on from --model");
  auto flags = std::make_shared<TrainFlags>();
  TrainRequest& r = flags->request;
  command->add_option("--corpus", flags->corpus, "JSON lines")->required();
  command->add_option("--out", flags->out, "folder to make")->required();
  command->add_option("--model", flags->base, "folder to go on from");
  command->add_option("--tokenizer", flags->tokenizer, "tokenizer.json; absent: a BPE is trained");
  command->add_option("--vocab-size", flags->vocab_size, "of the BPE")
      ->check(CLI::Range(257, 65536));
  command->add_option("--context", flags->context, "tokens")->check(CLI::Range(8, 8192));
  command->add_option("--hidden", flags->hidden, "width, a multiple of 64")
      ->check(CLI::Range(64, 4096));
  command->add_option("--layers", flags->layers, "layers")->check(CLI::Range(1, 64));
  command->add_option("--steps", r.steps, "optimizer steps")->check(CLI::Range(1, 10000000));
  command->add_option("--batch-tokens", r.batch_tokens, "tokens a step");
  command->add_option("--learning-rate", r.learning_rate, "the peak");
  command->add_option("--precision", r.precision, "of the steps")
      ->check(CLI::IsMember({"auto", "fp32", "bf16", "bf16_pure"}))
      ->capture_default_str();
  command->add_flag("--recompute", r.recompute,
                    "run each layer again in the backward pass: less memory, more time");
  command->callback([=, &common, &action] {
    action = [=, &common](const Device& device) { return RunTrain(*flags, common, device); };
  });
}

}  // namespace lethe::cli
