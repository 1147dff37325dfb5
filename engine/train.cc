#include "engine/train.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/scalar_tensor.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "engine/checkpoint/decoder_config.h"
#include "engine/loss/sequence_loss.h"
#include "engine/model/decoder_io.h"
#include "engine/model/model_folder.h"
#include "engine/seeded_generator.h"
#include "engine/torch_status.h"
#include "engine/train/loop.h"
#include "engine/train/reduce.h"

namespace lethe {
namespace {

// Sequences in a new seeded order each epoch, cut into batches of about the same number of tokens.
class Batches {
 public:
  Batches(const std::vector<Sequence>& sequences, int64_t batch_tokens, uint64_t seed)
      : sequences_(sequences),
        batch_tokens_(batch_tokens),
        random_(seed),
        order_(sequences.size()) {
    std::iota(order_.begin(), order_.end(), size_t{0});
    next_ = order_.size();
  }

  std::vector<Sequence> Next() {
    std::vector<Sequence> batch;
    int64_t tokens = 0;
    while (batch.empty() || tokens < batch_tokens_) {
      if (next_ == order_.size()) {
        random_.Shuffle(order_);
        next_ = 0;
      }
      batch.push_back(sequences_[order_[next_++]]);
      tokens += static_cast<int64_t>(batch.back().ids.size());
    }
    return batch;
  }

 private:
  const std::vector<Sequence>& sequences_;
  const int64_t batch_tokens_;
  SeededGenerator random_;
  std::vector<size_t> order_;
  size_t next_;
};

// Warm-up, then linear down to a tenth.
double Schedule(const TrainRequest& request, int64_t step) {
  if (step <= request.warmup_steps) {
    return request.learning_rate * static_cast<double>(step) /
           static_cast<double>(request.warmup_steps);
  }
  const double left =
      static_cast<double>(request.steps - step) /
      static_cast<double>(std::max<int64_t>(1, request.steps - request.warmup_steps));
  return request.learning_rate * (0.1 + 0.9 * left);
}

// Rows of the running step and the losses of those before: what the loop's hook works on.
class Descent {
 public:
  Descent(const Decoder& model, const TrainRequest& request, MicroBatch& micro_batch)
      : model_(model),
        source_(request.sequences, request.batch_tokens, request.seed),
        micro_batch_(micro_batch),
        ranks_(request.ranks) {}

  absl::StatusOr<std::vector<StepPart>> Parts(int64_t step) {
    if (drawn_ < step) {  // else memory ran out: the same rows again
      rows_ = source_.Next();
      drawn_ = step;
    }
    LETHE_ASSIGN_OR_RETURN(const auto batches,
                           MakeBatches(model_, rows_,
                                       {.max_tokens = micro_batch_.tokens(),
                                        .ranks = ranks_,
                                        .in_buckets = RepeatsSteps(model_.device(), ranks_),
                                        .on_host = true}));
    // The token mean over the whole step.
    const at::Tensor labelled = at::scalar_tensor(LabelledTokens(rows_), at::kFloat);
    std::vector<StepPart> parts;
    for (const LossBatch& batch : batches) {
      StepPart part{.kind = "train", .inputs = batch.Tensors()};
      part.inputs.push_back(labelled);
      part.loss = [this, batch](std::span<const at::Tensor> inputs) {
        const at::Tensor nll = ComputeTokenLosses(model_, batch.With(inputs)).nll;
        const at::Tensor loss = nll.sum() / inputs.back();
        return PartLoss{.slope_of = loss, .value = loss};
      };
      parts.push_back(std::move(part));
    }
    return parts;
  }

  void Note(const StepReport& step) { losses_.push_back(step.loss); }
  double FirstLoss() const { return losses_.front(); }
  double LastLoss() const {  // mean over the last 20 steps
    const size_t last = std::min<size_t>(20, losses_.size());
    return std::accumulate(losses_.end() - static_cast<std::ptrdiff_t>(last), losses_.end(), 0.0) /
           static_cast<double>(last);
  }

 private:
  const Decoder& model_;
  Batches source_;
  MicroBatch& micro_batch_;
  Ranks* const ranks_;
  std::vector<Sequence> rows_;
  int64_t drawn_ = 0;           // the step that rows_ are of
  std::vector<double> losses_;  // one a step
};

absl::StatusOr<LoopResult> TrainModel(const Decoder& model, const TrainRequest& request,
                                      TrainResult& result, const ProgressCallback& progress) {
  MicroBatch micro_batch(request.micro_batch_tokens, LongestOf(request.sequences));
  Descent descent(model, request, micro_batch);
  const LoopHooks hooks{.parts = [&](int64_t step) { return descent.Parts(step); },
                        .judge =
                            [&](const StepReport& step) {
                              descent.Note(step);
                              return Judgement{};
                            },
                        .notes_only = true};
  LETHE_ASSIGN_OR_RETURN(
      LoopResult loop,
      RunLoop(model, hooks,
              {.phase = "training",
               .max_steps = request.steps,
               .learning_rate = [&](int64_t step) { return Schedule(request, step); },
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
