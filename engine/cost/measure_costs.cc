#include "engine/cost/measure_costs.h"

#include <ATen/TensorOperators.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include "base/machine_memory.h"
#include "engine/cost/tensor_memory.h"
#include "engine/loss/sequence_loss.h"
#include "engine/model/generate.h"
#include "engine/torch_status.h"
#include "engine/train/loop.h"

namespace lethe {
namespace {

constexpr double kEnoughTokens = 512;        // read text: fewer are measured once more
constexpr int64_t kFewTokens = 8;            // of one sequence, where even that takes its time
constexpr int64_t kMostTokens = 4096;        // a micro-batch
constexpr int32_t kDraws = 32, kDrawn = 16;  // continuations of a prompt, and tokens of each
constexpr double kBackward = 3;              // a trained token beside one that is read, as expected
// Of the weights, that a step holds: gradient, two moments, the three from before it, the best.
constexpr double kHeldCopies = 7;

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// The first has warmed things up.
double MedianBehindFirst(std::vector<double> values) {
  values.erase(values.begin());
  return Median(std::move(values));
}

// Seconds of `body`, which has run before: the median of three.
absl::StatusOr<double> SecondsOf(const std::function<absl::Status()>& body) {
  std::vector<double> seconds;
  for (int i = 0; i < 3; ++i) {
    const double begin = Now();
    LETHE_RETURN_IF_ERROR(body());
    seconds.push_back(Now() - begin);
  }
  return Median(seconds);
}

// The first sequences up to so many tokens; the first one cut where it alone has more.
std::vector<Sequence> Sample(std::span<const Sequence> from, double tokens) {
  const auto most = static_cast<int64_t>(
      std::clamp<double>(tokens, kFewTokens, static_cast<double>(kMostTokens)));
  std::vector<Sequence> sample;
  int64_t taken = 0;
  for (const Sequence& sequence : from) {
    const auto length = static_cast<int64_t>(sequence.ids.size());
    if (taken > 0 && taken + length > most) break;
    const int64_t cut = std::min(length, most);
    sample.push_back({.ids = {sequence.ids.begin(), sequence.ids.begin() + cut}});
    taken += cut;
  }
  return sample;
}

int64_t TokensOf(std::span<const Sequence> sequences) {
  int64_t tokens = 0;
  for (const Sequence& sequence : sequences) tokens += static_cast<int64_t>(sequence.ids.size());
  return tokens;
}

double LeafBytes(const Decoder& model) {
  double bytes = 0;
  for (const at::Tensor& leaf : model.Leaves()) bytes += static_cast<double>(leaf.nbytes());
  return bytes;
}

// Total and free.
MachineMemory MemoryOf(const at::Device& device) {
  if (device.is_cpu()) return ReadMachineMemory();
  const auto [free, total] = c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index());
  return {static_cast<int64_t>(total), static_cast<int64_t>(free)};
}

class Measurement {
 public:
  Measurement(const Decoder& model, std::span<const Sequence> unseen,
              const EvaluateResult& evaluated, const CostOptions& options)
      : model_(model),
        training_(model.In(options.precision)),
        unseen_(unseen),
        evaluated_(evaluated),
        options_(options) {}

  absl::StatusOr<ModelCosts> Run(const ProgressCallback& progress) {
    using Part = absl::Status (Measurement::*)();
    costs_.weight_bytes = LeafBytes(model_);
    CountUnseen();
    for (const Part part :
         {&Measurement::Scores, &Measurement::Rollouts, &Measurement::Draws, &Measurement::Steps}) {
      LETHE_RETURN_IF_ERROR(Report(progress, {"measuring", 0, 0, {}}));
      LETHE_RETURN_IF_ERROR((this->*part)());
    }
    return costs_;
  }

 private:
  // Tokens that the budget allows at so many seconds each.
  double Affordable(double token_seconds) const {
    const double budget = std::clamp(options_.unseen_seconds / 50, kLeastBudget, kMostBudget);
    return budget / std::max(1e-9, token_seconds);
  }

  // Tokens of the unseen text, those that its EL rolled out, and all that could have been.
  void CountUnseen() {
    for (size_t i = 0; i < evaluated_.sequences.size(); ++i) {
      const auto tokens = static_cast<double>(unseen_[i].ids.size());
      const auto fed = static_cast<double>(evaluated_.sequences[i].el_forward_tokens);
      tokens_ += tokens;
      rolled_ += std::max(0.0, fed - tokens);
      possible_ += tokens * tokens / 2;
    }
    costs_.rollout_share = possible_ > 0 ? rolled_ / possible_ : 0;
  }

  absl::Status Scores() {
    if (options_.read_tokens >= kEnoughTokens && options_.read_seconds > 0) {
      costs_.score_token_seconds = options_.read_seconds / options_.read_tokens;
      return absl::OkStatus();
    }
    // A token of the evaluation is about as dear as one that is read.
    const double fed = tokens_ + rolled_;
    const double guess = fed > 0 ? options_.unseen_seconds / fed : 1e-3;
    const std::vector<Sequence> sample = Sample(unseen_, Affordable(guess));
    LETHE_ASSIGN_OR_RETURN(const double seconds,
                           SecondsOf([&] { return ScoreSequences(model_, sample).status(); }));
    costs_.score_token_seconds = seconds / static_cast<double>(TokensOf(sample));
    return absl::OkStatus();
  }

  // The evaluation read the text twice, for the scores and for EL; the rest were roll-outs.
  absl::Status Rollouts() {
    const double rest = options_.unseen_seconds - 2 * tokens_ * costs_.score_token_seconds;
    costs_.rollout_token_seconds =
        rolled_ > 0 && rest > 0 ? rest / rolled_ : costs_.score_token_seconds;
    return absl::OkStatus();
  }

  absl::Status Draws() {
    const int64_t context = model_.config().context;
    const auto drawn = static_cast<int32_t>(std::min<int64_t>(kDrawn, context - 1));
    if (drawn < 1) return absl::OkStatus();
    const double affordable = std::min(Affordable(costs_.rollout_token_seconds), 1.0 * kMostTokens);
    const auto draws = static_cast<int32_t>(std::clamp(affordable / drawn, 1.0, 1.0 * kDraws));
    std::vector<TokenIds> prompts;
    int64_t read = 0;
    for (const Sequence& sequence : unseen_) {
      if (!prompts.empty() &&
          static_cast<double>((prompts.size() + 1) * draws * drawn) > affordable)
        break;
      const auto half =
          std::clamp<int64_t>(static_cast<int64_t>(sequence.ids.size()) / 2, 1, context - drawn);
      prompts.emplace_back(sequence.ids.begin(), sequence.ids.begin() + half);
      read += half;
    }
    const GenerateOptions how{
        .max_new_tokens = drawn, .samples = draws, .temperature = 1, .top_k = 40};
    const auto draw = [&] { return GenerateContinuations(model_, prompts, how).status(); };
    LETHE_RETURN_IF_ERROR(draw());
    LETHE_ASSIGN_OR_RETURN(const double seconds, SecondsOf(draw));
    const double rest = seconds - static_cast<double>(read) * costs_.score_token_seconds;
    const auto tokens = static_cast<double>(prompts.size()) * draws * drawn;
    costs_.generate_token_seconds =
        rest > 0 ? rest / tokens : seconds / (tokens + static_cast<double>(read));
    return absl::OkStatus();
  }

  absl::Status Steps() {
    // What stands until a step has been measured, and for good where it cannot be.
    costs_.train_token_seconds = kBackward * costs_.score_token_seconds;
    costs_.step_bytes = kHeldCopies * costs_.weight_bytes;
    const MachineMemory memory = MemoryOf(model_.device());
    costs_.memory_bytes = static_cast<double>(memory.total);
    const bool fits =
        memory.available == 0 || costs_.step_bytes < 0.9 * static_cast<double>(memory.available);
    if (!fits) return absl::OkStatus();
    // A model that cannot be trained can still be attacked; the run that trains it will say why.
    CatchTorch("measuring a step", [&] { return MeasuredSteps(); }).IgnoreError();
    model_.ZeroGradients();
    return absl::OkStatus();
  }

  // Micro-batches over as many tokens, with what is counted of them.
  struct Batches {
    std::vector<LossBatch> list;
    double tokens = 0;            // pads apart
    double padded = 0;            // of the largest, pads included
    std::vector<double> seconds;  // of each time, forward and backward
    double kept_bytes = 0;        // for the backward pass of the largest
  };

  absl::StatusOr<Batches> BatchesOf(double tokens) const {
    Batches batches;
    const std::vector<Sequence> sample = Sample(unseen_, tokens);
    LETHE_ASSIGN_OR_RETURN(batches.list, MakeBatches(model_, sample, {.max_tokens = kMostTokens}));
    batches.tokens = static_cast<double>(TokensOf(sample));
    for (const LossBatch& batch : batches.list) {
      batches.padded = std::max(batches.padded, static_cast<double>(batch.ids.numel()));
    }
    return batches;
  }

  double Accumulate(Batches& batches, const TensorMemory& counted) const {
    const double begin = Now();
    const auto labelled = static_cast<double>(LabelledTokens(batches.list));
    double total = 0;
    for (const LossBatch& batch : batches.list) {
      const auto before = static_cast<double>(counted.bytes());
      const at::Tensor loss = ComputeTokenLosses(training_, batch).nll.sum() / labelled;
      const double kept = static_cast<double>(counted.bytes()) - before;
      batches.kept_bytes = std::max(batches.kept_bytes, kept);
      loss.backward();
      total += loss.item<double>();
    }
    batches.seconds.push_back(Now() - begin);
    return total;
  }

  absl::Status MeasuredSteps() {
    const double most = Affordable(costs_.train_token_seconds);
    LETHE_ASSIGN_OR_RETURN(Batches few, BatchesOf(most / 4));
    LETHE_ASSIGN_OR_RETURN(Batches many, BatchesOf(most));
    std::vector<double> ends, rests;  // of a step besides its tokens
    double held = 0;
    const TensorMemory counted;
    const LoopHooks hooks{
        .accumulate = [&](int64_t) -> absl::StatusOr<StepLoss> {
          if (!ends.empty()) rests.push_back(Now() - ends.back());
          const double loss = Accumulate(few, counted) + Accumulate(many, counted);
          ends.push_back(Now());
          held = static_cast<double>(counted.bytes());  // of the last step, when all copies stand
          return StepLoss{loss, loss};
        },
        // Each step counts as the best, and is copied.
        .judge = [](const StepReport& step) -> absl::StatusOr<Judgement> {
          return Judgement{.score = -static_cast<double>(step.step)};
        }};
    const LoopOptions loop{.max_steps = 4,
                           .learning_rate = [](int64_t) { return 0.0; },
                           .max_grad_norm = 1,
                           .may_take_back = true};
    LETHE_RETURN_IF_ERROR(RunLoop(training_, hooks, loop).status());
    const double short_pass = MedianBehindFirst(few.seconds);
    const double long_pass = MedianBehindFirst(many.seconds);
    // Where both are of one size, or noise is larger than the difference, all goes by the token.
    const double slope =
        many.tokens > 1.5 * few.tokens ? (long_pass - short_pass) / (many.tokens - few.tokens) : 0;
    const double whole = long_pass / many.tokens;
    costs_.train_token_seconds = slope > whole / 20 ? std::min(slope, whole) : whole;
    const double pass = long_pass - costs_.train_token_seconds * many.tokens;
    costs_.step_seconds = MedianBehindFirst(rests) + 2 * pass;  // one pass pushes, one holds
    costs_.step_bytes = held;
    costs_.token_bytes = many.kept_bytes / many.padded;
    costs_.step_measured = true;
    return absl::OkStatus();
  }

  const Decoder& model_;
  const Decoder training_;  // the same weights, as steps compute with them
  const std::span<const Sequence> unseen_;
  const EvaluateResult& evaluated_;
  const CostOptions options_;
  double tokens_ = 0, rolled_ = 0, possible_ = 0;  // of the unseen text
  ModelCosts costs_;
};

}  // namespace

absl::StatusOr<ModelCosts> MeasureCosts(const Decoder& model, std::span<const Sequence> unseen,
                                        const EvaluateResult& evaluated, const CostOptions& options,
                                        const ProgressCallback& progress) {
  return CatchTorch("measuring what work costs", [&]() -> absl::StatusOr<ModelCosts> {
    return Measurement(model, unseen, evaluated, options).Run(progress);
  });
}

}  // namespace lethe
