#include "engine/train_slices.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <optional>
#include <set>
#include <utility>

#include "base/digest.h"
#include "engine/checkpoint/decoder_config.h"
#include "engine/checkpoint/decoder_tensors.h"
#include "engine/ensemble/slice_states.h"
#include "engine/model/decoder.h"
#include "engine/model/model_folder.h"
#include "engine/precision.h"
#include "engine/torch_status.h"
#include "engine/train/descent.h"
#include "engine/train/loop.h"

namespace lethe {
namespace {

absl::Status CheckRequest(const TrainSlicesRequest& request) {
  const auto refused = [](std::string_view reason, std::string_view message) {
    return Error(absl::StatusCode::kInvalidArgument, reason, message);
  };
  if (request.slices.empty()) return refused("NO_SLICES", "no slice was given to train on");
  for (const TrainingSlice& slice : request.slices) {
    if (slice.digest.empty()) {
      return refused("DIGEST_MISSING", "each slice needs the digest of its content");
    }
  }
  if (!(request.epochs > 0) || request.batch_tokens < 1 || request.micro_batch_tokens < 1 ||
      request.warmup_steps < 0 || !(request.learning_rate > 0) || !(request.max_grad_norm >= 0)) {
    return refused("BAD_PARAMETER",
                   "epochs, batch_tokens, micro_batch_tokens and learning_rate must be positive, "
                   "warmup_steps and max_grad_norm at least 0");
  }
  return absl::OkStatus();
}

// The shortest text that reads back as the same number is not needed: only that it is one.
std::string Exactly(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.17g", value);
  return text;
}

// All that every state depends on, in lines that no two requests share.
std::string Recipe(const TrainSlicesRequest& request, Precision precision) {
  std::string recipe = "lethe slices 1\n";
  for (const std::string& part :
       {Sha256Hex(request.config_json), Sha256Hex(request.tokenizer_json), Exactly(request.epochs),
        std::to_string(request.slices.size()), std::to_string(request.batch_tokens),
        std::to_string(request.micro_batch_tokens), Exactly(request.learning_rate),
        std::to_string(request.warmup_steps), Exactly(request.max_grad_norm),
        std::string(NameOf(precision)), std::string(request.recompute ? "recompute" : "keep"),
        std::to_string(request.seed)}) {
    recipe += part + "\n";
  }
  return recipe;
}

std::vector<std::string> Keys(const TrainSlicesRequest& request, Precision precision) {
  std::vector<std::string> keys;
  std::string before = Recipe(request, precision);
  for (const TrainingSlice& slice : request.slices) {
    keys.push_back(HmacSha256Hex(request.digest_key, before + "slice " + slice.digest + "\n"));
    before = keys.back();
  }
  return keys;
}

absl::StatusOr<Precision> PrecisionOf(const TrainSlicesRequest& request,
                                      const DecoderConfig& config) {
  int64_t parameters = 0;
  for (const TensorRule& weight : DecoderTensors(config)) {
    int64_t elements = 1;
    for (const int64_t size : weight.shape) elements *= size;
    parameters += elements;
  }
  return ChoosePrecision(request.precision, parameters, request.device);
}

// What a stage is trained on, end to end.
class Stage {
 public:
  Stage(const std::vector<TrainingSlice>& slices, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      ends_.push_back((ends_.empty() ? 0 : ends_.back()) + slices[i].sequences.size);
    }
    list_.size = ends_.back();
    list_.read = [this, &slices](size_t i) {
      const size_t slice =
          static_cast<size_t>(std::upper_bound(ends_.begin(), ends_.end(), i) - ends_.begin());
      return slices[slice].sequences.read(i - (slice == 0 ? 0 : ends_[slice - 1]));
    };
  }
  Stage(const Stage&) = delete;
  const SequenceList& list() const { return list_; }

 private:
  std::vector<size_t> ends_;
  SequenceList list_;
};

struct SliceSize {
  int64_t tokens = 0;
  int64_t longest = 0;
};

class SliceTraining {
 public:
  SliceTraining(const TrainSlicesRequest& request, DecoderConfig config, Precision precision,
                SliceStates states, const ProgressCallback& progress)
      : request_(request),
        config_(std::move(config)),
        precision_(precision),
        keys_(Keys(request, precision)),
        states_(std::move(states)),
        progress_(progress) {}

  absl::StatusOr<TrainSlicesResult> Run() {
    result_.run = NewRunRecord(request_.device);
    result_.states.resize(keys_.size());
    for (size_t i = 0; i < keys_.size(); ++i) result_.states[i].key = keys_[i];
    LETHE_ASSIGN_OR_RETURN(std::optional<SliceState> state, NewestState());
    for (; done_ < keys_.size(); ++done_) {
      if (!state.has_value()) {
        LETHE_ASSIGN_OR_RETURN(Decoder fresh,
                               Decoder::Init(config_, request_.seed, request_.device));
        state = SliceState{.model = std::move(fresh)};
      }
      LETHE_RETURN_IF_ERROR(MeasureTo(*state));
      LETHE_RETURN_IF_ERROR(Train(*state));
      LETHE_RETURN_IF_ERROR(Keep(*state));
    }
    // Before others go: whoever follows the link finds the one model or the other, never none.
    LETHE_RETURN_IF_ERROR(states_.Point(keys_.back()));
    if (request_.remove_others) {
      LETHE_ASSIGN_OR_RETURN(result_.removed, states_.KeepOnly({keys_.begin(), keys_.end()}));
    }
    Record();
    return std::move(result_);
  }

 private:
  // The state behind the most slices that is there and sound; nothing: from the start.
  absl::StatusOr<std::optional<SliceState>> NewestState() {
    for (size_t i = 0; i < keys_.size(); ++i) {
      if (states_.Has(keys_[i])) {
        result_.states[i].model_folder = states_.ModelFolderOf(keys_[i]);
      }
    }
    for (size_t i = keys_.size(); i > 0; --i) {
      if (result_.states[i - 1].model_folder.empty()) continue;
      absl::StatusOr<SliceState> state = states_.Load(keys_[i - 1], request_.device);
      if (state.ok()) {
        done_ = i;
        return *std::move(state);
      }
      if (!IsDamage(state.status())) return state.status();
      LETHE_RETURN_IF_ERROR(states_.Remove(keys_[i - 1]));
      result_.states[i - 1].model_folder.clear();
      ++result_.damaged;
    }
    return std::nullopt;
  }

  // A file that is gone or cut off is damage like another; a disk that cannot be read is not.
  static bool IsDamage(const absl::Status& status) {
    return status.code() == absl::StatusCode::kFailedPrecondition ||
           status.code() == absl::StatusCode::kInvalidArgument ||
           status.code() == absl::StatusCode::kNotFound;
  }

  // Checks the sequences of all slices up to the running one, each once, and counts their tokens.
  absl::Status MeasureTo(const SliceState& state) {
    while (sizes_.size() <= done_) {
      const SequenceList& list = request_.slices[sizes_.size()].sequences;
      SliceSize size;
      for (size_t i = 0; i < list.size; ++i) {
        LETHE_ASSIGN_OR_RETURN(const Sequence sequence, list.read(i));
        const std::span<const Sequence> one(&sequence, 1);
        if (const absl::Status status = CheckSequences(state.model, one, "training");
            !status.ok()) {
          return Error(status.code(), ErrorReason(status), std::string(status.message()),
                       {{"slice", std::to_string(sizes_.size())}, {"index", std::to_string(i)}});
        }
        size.tokens += static_cast<int64_t>(sequence.ids.size());
        size.longest = std::max(size.longest, static_cast<int64_t>(sequence.ids.size()));
      }
      sizes_.push_back(size);
    }
    return absl::OkStatus();
  }

  int64_t StepsOfStage() const {
    int64_t tokens = 0;
    for (size_t i = 0; i <= done_; ++i) tokens += sizes_[i].tokens;
    const double epochs = 2 * request_.epochs / static_cast<double>(keys_.size() + 1);
    return static_cast<int64_t>(std::ceil(epochs * static_cast<double>(tokens) /
                                          static_cast<double>(request_.batch_tokens)));
  }

  absl::Status Train(SliceState& state) {
    const Stage stage(request_.slices, done_ + 1);
    if (stage.list().size == 0) return absl::OkStatus();
    int64_t longest = 0;
    for (size_t i = 0; i <= done_; ++i) longest = std::max(longest, sizes_[i].longest);
    const int64_t steps = StepsOfStage();
    const Decoder training = ForTraining(state.model, precision_, request_.recompute);
    MicroBatch micro_batch(request_.micro_batch_tokens, longest);
    // Of seed and stage: an order that another stage drew is not drawn again.
    const uint64_t order = request_.seed + (done_ + 1) * 0x9E3779B97F4A7C15ULL;
    Descent descent(training, stage.list(), {.batch_tokens = request_.batch_tokens, .seed = order},
                    micro_batch);
    Adam::State after;
    const LoopOptions options{
        .phase = "training",
        .max_steps = steps,
        .learning_rate =
            [&](int64_t step) {
              return WarmupThenLinear(request_.learning_rate, step, request_.warmup_steps, steps);
            },
        .adam = {.beta2 = 0.95, .seed = request_.seed},
        .moments_before = state.moments.moments.empty() ? nullptr : &state.moments,
        .moments_after = &after,
        .max_grad_norm = request_.max_grad_norm,
        .micro_batch = &micro_batch};
    LETHE_ASSIGN_OR_RETURN(const LoopResult loop,
                           RunLoop(training, descent.Hooks(), options, SliceProgress()));
    state.moments = std::move(after);
    state.steps += loop.steps;
    result_.run.steps += loop.steps;
    result_.run.stop_reason = loop.stop_reason;
    result_.states[done_].last_loss = descent.LastLoss();
    const int64_t used = micro_batch.tokens();
    result_.micro_batch_tokens =
        result_.micro_batch_tokens == 0 ? used : std::min(result_.micro_batch_tokens, used);
    return absl::OkStatus();
  }

  absl::Status Keep(const SliceState& state) {
    LETHE_RETURN_IF_ERROR(Report(progress_, {"saving", 0, 0, {}}));
    RunRecord made = result_.run;
    FillRecord(made);
    made.steps = state.steps;
    LETHE_RETURN_IF_ERROR(states_.Save(
        keys_[done_], state,
        {.config_json = request_.config_json,
         .tokenizer_json = request_.tokenizer_json,
         .lineage_json =
             RunRecordJson(made, {{"slice", std::to_string(done_)}, {"state", keys_[done_]}}),
         .slice = static_cast<int>(done_)}));
    result_.states[done_].model_folder = states_.ModelFolderOf(keys_[done_]);
    result_.states[done_].trained = true;
    return absl::OkStatus();
  }

  ProgressCallback SliceProgress() const {
    if (progress_ == nullptr) return nullptr;
    return [this](const EngineProgress& progress) {
      EngineProgress of_slice = progress;
      of_slice.figures["slice"] = static_cast<double>(done_ + 1);
      of_slice.figures["slices"] = static_cast<double>(keys_.size());
      return progress_(of_slice);
    };
  }

  void FillRecord(RunRecord& run) const {
    run.method = "train_slices";
    run.precision = NameOf(precision_);
    run.seed = request_.seed;
    run.data_digest = keys_.back();
    run.hyperparameters = {{"epochs", request_.epochs},
                           {"batch_tokens", static_cast<double>(request_.batch_tokens)},
                           {"micro_batch_tokens", static_cast<double>(request_.micro_batch_tokens)},
                           {"learning_rate", request_.learning_rate},
                           {"warmup_steps", static_cast<double>(request_.warmup_steps)},
                           {"max_grad_norm", request_.max_grad_norm}};
    if (request_.recompute) run.hyperparameters["recompute"] = 1;
  }
  void Record() { FillRecord(result_.run); }

  const TrainSlicesRequest& request_;
  const DecoderConfig config_;
  const Precision precision_;
  const std::vector<std::string> keys_;
  SliceStates states_;
  const ProgressCallback progress_;
  size_t done_ = 0;  // slices that the state has seen
  std::vector<SliceSize> sizes_;
  TrainSlicesResult result_;
};

absl::StatusOr<TrainSlicesResult> CheckAndTrain(const TrainSlicesRequest& request,
                                                const ProgressCallback& progress) {
  const auto start = std::chrono::steady_clock::now();
  LETHE_RETURN_IF_ERROR(CheckRequest(request));
  LETHE_ASSIGN_OR_RETURN(const DecoderConfig config, ParseDecoderConfig(request.config_json));
  LETHE_ASSIGN_OR_RETURN(const Precision precision, PrecisionOf(request, config));
  LETHE_RETURN_IF_ERROR(Report(progress, {"loading", 0, 0, {}}));
  LETHE_ASSIGN_OR_RETURN(SliceStates states, SliceStates::Open(request.states_folder));
  SliceTraining training(request, config, precision, std::move(states), progress);
  LETHE_ASSIGN_OR_RETURN(TrainSlicesResult result, training.Run());
  result.run.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace

absl::StatusOr<TrainSlicesResult> TrainSlices(const TrainSlicesRequest& request,
                                              const ProgressCallback& progress) {
  return CatchTorch("training", [&] { return CheckAndTrain(request, progress); });
}

absl::StatusOr<std::vector<std::string>> SliceStateKeys(const TrainSlicesRequest& request) {
  LETHE_RETURN_IF_ERROR(CheckRequest(request));
  LETHE_ASSIGN_OR_RETURN(const DecoderConfig config, ParseDecoderConfig(request.config_json));
  LETHE_ASSIGN_OR_RETURN(const Precision precision, PrecisionOf(request, config));
  return Keys(request, precision);
}

}  // namespace lethe
