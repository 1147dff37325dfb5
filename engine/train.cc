#include "engine/train.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/checkpoint/decoder_config.h"
#include "engine/model/decoder_io.h"
#include "engine/model/model_folder.h"
#include "engine/torch_status.h"
#include "engine/train/descent.h"
#include "engine/train/loop.h"
#include "engine/train/reduce.h"

namespace lethe {
namespace {

absl::StatusOr<LoopResult> TrainModel(const Decoder& model, const TrainRequest& request,
                                      TrainResult& result, const ProgressCallback& progress) {
  MicroBatch micro_batch(request.micro_batch_tokens, LongestOf(request.sequences));
  const SequenceList list{.size = request.sequences.size(),
                          .read = [&](size_t i) { return request.sequences[i]; }};
  Descent descent(
      model, list,
      {.batch_tokens = request.batch_tokens, .seed = request.seed, .ranks = request.ranks},
      micro_batch);
  LETHE_ASSIGN_OR_RETURN(LoopResult loop, RunLoop(model, descent.Hooks(),
                                                  {.phase = "training",
                                                   .max_steps = request.steps,
                                                   .learning_rate =
                                                       [&](int64_t step) {
                                                         return WarmupThenLinear(
                                                             request.learning_rate, step,
                                                             request.warmup_steps, request.steps);
                                                       },
                                                   .adam = {.beta2 = 0.95, .seed = request.seed},
                                                   .max_grad_norm = request.max_grad_norm,
                                                   .ranks = request.ranks,
                                                   .micro_batch = &micro_batch},
                                                  progress));
  result.first_loss = descent.FirstLoss();
  result.last_loss = descent.LastLoss();
  result.run.hyperparameters["micro_batch_tokens"] = static_cast<double>(micro_batch.tokens());
  return loop;
}

NewCheckpoint NewFolder(const TrainRequest& request, const std::string& lineage) {
  NewCheckpoint checkpoint{.out = request.out_folder, .config_json = request.config_json};
  checkpoint.lineage_json = lineage;
  if (!request.tokenizer_json.empty()) checkpoint.files["tokenizer.json"] = request.tokenizer_json;
  return checkpoint;
}

absl::Status CheckRequest(const TrainRequest& request) {
  const auto refused = [](std::string_view reason, std::string_view message) {
    return Error(absl::StatusCode::kInvalidArgument, reason, message);
  };
  if (request.sequences.empty()) return refused("NOTHING_TO_TRAIN_ON", "no sequence was given");
  if (request.steps < 1 || request.batch_tokens < 1 || request.micro_batch_tokens < 1 ||
      request.warmup_steps < 0 || !(request.learning_rate > 0)) {
    return refused("BAD_PARAMETER",
                   "steps, batch_tokens, micro_batch_tokens and learning_rate must be positive");
  }
  std::error_code error;
  if (std::filesystem::exists(std::filesystem::symlink_status(request.out_folder, error))) {
    return refused("OUT_FOLDER_EXISTS", "the folder for the model is already there");
  }
  return absl::OkStatus();
}

// All ranks are at the same work, with the same weights.
absl::Status MeetRanks(const Decoder& model, const TrainRequest& request) {
  if (request.ranks == nullptr) return absl::OkStatus();
  const std::span<const Sequence> sets[] = {request.sequences};
  std::string work =
      DataDigest(request.digest_key, sets) + " " + std::to_string(request.seed) + " ";
  work += NameOf(model.precision());
  return Meet(
      request.ranks, std::move(work),
      {static_cast<double>(request.steps), static_cast<double>(request.batch_tokens),
       request.learning_rate, static_cast<double>(request.warmup_steps), request.max_grad_norm},
      model);
}

absl::StatusOr<SavedCheckpoint> Save(const TrainRequest& request,
                                     const std::optional<ModelFolder>& base, const Decoder& model,
                                     const std::string& lineage) {
  if (base.has_value()) return base->SaveAs(request.out_folder, lineage);
  return SaveNewDecoder(model, NewFolder(request, lineage));
}

absl::StatusOr<TrainResult> LoadAndTrain(const TrainRequest& request,
                                         const ProgressCallback& progress) {
  const auto start = std::chrono::steady_clock::now();
  LETHE_RETURN_IF_ERROR(CheckRequest(request));
  LETHE_RETURN_IF_ERROR(Report(progress, {"loading", 0, 0, {}}));
  std::optional<ModelFolder> base;
  std::optional<Decoder> fresh;
  if (request.base_folder.empty()) {
    LETHE_ASSIGN_OR_RETURN(const DecoderConfig config, ParseDecoderConfig(request.config_json));
    LETHE_ASSIGN_OR_RETURN(fresh, Decoder::Init(config, request.seed, request.device));
  } else {
    LETHE_ASSIGN_OR_RETURN(base, ModelFolder::Load(request.base_folder, request.device));
  }
  Decoder& model = base.has_value() ? base->model : *fresh;
  LETHE_ASSIGN_OR_RETURN(
      const Precision precision,
      ChoosePrecision(request.precision, model.ParameterCount(), request.device));
  const Decoder training = ForTraining(model, precision, request.recompute);
  LETHE_RETURN_IF_ERROR(CheckSequences(model, request.sequences, "training"));
  LETHE_RETURN_IF_ERROR(MeetRanks(training, request));

  TrainResult result{.run = NewRunRecord(request.device), .parameters = model.ParameterCount()};
  LETHE_ASSIGN_OR_RETURN(const LoopResult loop, TrainModel(training, request, result, progress));
  result.run.method = "train";
  result.run.hyperparameters.insert({{"steps", static_cast<double>(request.steps)},
                                     {"batch_tokens", static_cast<double>(request.batch_tokens)},
                                     {"learning_rate", request.learning_rate},
                                     {"warmup_steps", static_cast<double>(request.warmup_steps)},
                                     {"max_grad_norm", request.max_grad_norm}});
  result.run.precision = NameOf(precision);
  if (request.recompute) result.run.hyperparameters["recompute"] = 1;
  result.run.seed = request.seed;
  result.run.stop_reason = loop.stop_reason;
  result.run.steps = loop.steps;
  const std::span<const Sequence> sets[] = {request.sequences};
  result.run.data_digest = DataDigest(request.digest_key, sets);

  if (request.ranks != nullptr) result.run.ranks = request.ranks->count();
  if (IsFirst(request.ranks)) {
    LETHE_RETURN_IF_ERROR(Report(progress, {"saving", 0, 0, {}}));
    LETHE_ASSIGN_OR_RETURN(const SavedCheckpoint saved,
                           Save(request, base, model, RunRecordJson(result.run, {})));
    result.out_digest = saved.digest;
  }
  LETHE_RETURN_IF_ERROR(EndTogether(request.ranks));
  result.run.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace

std::string SmallLlamaConfig(int vocab_size, int context_length, int hidden, int layers) {
  const int heads = std::max(1, hidden / 32);
  const nlohmann::ordered_json config = {
      {"architectures", {"LlamaForCausalLM"}},
      {"model_type", "llama"},
      {"attention_bias", false},
      {"attention_dropout", 0.0},
      {"bos_token_id", nullptr},
      {"eos_token_id", nullptr},
      {"dtype", "float32"},
      {"head_dim", hidden / heads},
      {"hidden_act", "silu"},
      {"hidden_size", hidden},
      {"initializer_range", 0.02},
      {"intermediate_size", hidden * 8 / 3 / 16 * 16},
      {"max_position_embeddings", context_length},
      {"mlp_bias", false},
      {"num_attention_heads", heads},
      {"num_hidden_layers", layers},
      {"num_key_value_heads", std::max(1, heads / 2)},
      {"rms_norm_eps", 1e-5},
      {"rope_parameters", {{"rope_theta", 10000.0}, {"rope_type", "default"}}},
      {"tie_word_embeddings", true},
      {"use_cache", true},
      {"vocab_size", vocab_size}};
  return config.dump(2);
}

absl::StatusOr<TrainResult> Train(const TrainRequest& request, const ProgressCallback& progress) {
  absl::StatusOr<TrainResult> result = CatchTorch("training", [&] {
    return LoadAndTrain(request, IsFirst(request.ranks) ? progress : nullptr);
  });
  if (!result.ok() && request.ranks != nullptr) return request.ranks->Fail(result.status());
  return result;
}

}  // namespace lethe
