#include "engine/cost/measure_costs.h"

#include <ATen/TensorOperators.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <vector>

#include "base/machine_memory.h"
#include "engine/cost/tensor_memory.h"
#include "engine/loss/sequence_loss.h"
#include "engine/metric/memorisation.h"
#include "engine/model/generate.h"
#include "engine/torch_status.h"
#include "engine/train/loop.h"

namespace lethe {
namespace {

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
      : model_(model), unseen_(unseen), evaluated_(evaluated), options_(options) {}

  absl::StatusOr<ModelCosts> Run(const ProgressCallback& progress) {
    using Part = absl::Status (Measurement::*)();
    costs_.weight_bytes = LeafBytes(model_);
    costs_.rollout_share = RolloutShare();
    for (const Part part :
         {&Measurement::Scores, &Measurement::Rollouts, &Measurement::Draws, &Measurement::Steps}) {
      LETHE_RETURN_IF_ERROR(Report(progress, {"measuring", 0, 0, {}}));
      LETHE_RETURN_IF_ERROR((this->*part)());
    }
    return costs_;
  }

 private:
  // Tokens that the budget allows, where one takes so many times what a token takes that is read.
  double Affordable(double times) const {
    return options_.budget_seconds / std::max(1e-9, times * options_.token_seconds);
  }

  double RolloutShare() const {
    double rolled = 0, possible = 0;
    for (size_t i = 0; i < evaluated_.sequences.size(); ++i) {
      const auto tokens = static_cast<double>(unseen_[i].ids.size());
      const auto fed = static_cast<double>(evaluated_.sequences[i].el_forward_tokens);
      rolled += std::max(0.0, fed - tokens);
      possible += tokens * tokens / 2;
    }
    return possible > 0 ? rolled / possible : 0;
  }

  absl::Status Scores() {
    const std::vector<Sequence> sample = Sample(unseen_, Affordable(1));
    LETHE_ASSIGN_OR_RETURN(const double seconds,
                           SecondsOf([&] { return ScoreSequences(model_, sample).status(); }));
    costs_.score_token_seconds = seconds / static_cast<double>(TokensOf(sample));
    return absl::OkStatus();
  }

  absl::Status Rollouts() {
    const double fed_a_token = evaluated_.rollouts > 0 ? FedATokenOfText() : 1;
    std::vector<Sequence> sample = Sample(unseen_, Affordable(fed_a_token));
    int64_t fed = 0;
    const auto measure = [&]() -> absl::Status {
      LETHE_ASSIGN_OR_RETURN(const auto measured, MeasureMemorisation(model_, sample));
      fed = 0;
      for (const Memorisation& m : measured) fed += m.forward_tokens;
      return absl::OkStatus();
    };
    LETHE_ASSIGN_OR_RETURN(const double seconds, SecondsOf(measure));
    const auto tokens = static_cast<double>(TokensOf(sample));
    const double rolled = static_cast<double>(fed) - tokens;
    // What reading takes may be all there is, and then a roll-out is taken to cost as much.
    const double rest = seconds - tokens * costs_.score_token_seconds;
    costs_.rollout_token_seconds =
        rolled > 0 && rest > 0 ? rest / rolled : costs_.score_token_seconds;
    return absl::OkStatus();
  }

  double FedATokenOfText() const {
    int64_t fed = 0;
    for (const SequenceEvaluation& s : evaluated_.sequences) fed += s.el_forward_tokens;
    return std::max(1.0, static_cast<double>(fed) / static_cast<double>(TokensOf(unseen_)));
  }

  absl::Status Draws() {
    const int64_t context = model_.config().context;
    const auto drawn = static_cast<int32_t>(std::min<int64_t>(kDrawn, context - 1));
    if (drawn < 1) return absl::OkStatus();
    const double affordable = std::min(Affordable(1), static_cast<double>(kMostTokens));
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

  absl::Status MeasuredSteps() {
    LETHE_ASSIGN_OR_RETURN(
        const std::vector<LossBatch> batches,
        MakeBatches(model_, Sample(unseen_, Affordable(kBackward)), {.max_tokens = kMostTokens}));
    const auto labelled = static_cast<double>(LabelledTokens(batches));
    double tokens = 0, padded = 0;
    for (const LossBatch& batch : batches) {
      tokens += static_cast<double>(batch.positions.numel() + batch.ids.size(0));
      padded = std::max(padded, static_cast<double>(batch.ids.numel()));
    }
    std::vector<double> begins, ends;
    double kept = 0, held = 0;
    TensorMemory counted;
    const LoopHooks hooks{
        .accumulate = [&](int64_t) -> absl::StatusOr<StepLoss> {
          begins.push_back(Now());
          double total = 0;
          for (const LossBatch& batch : batches) {
            const auto before = static_cast<double>(counted.bytes());
            const at::Tensor loss = ComputeTokenLosses(model_, batch).nll.sum() / labelled;
            kept = std::max(kept, static_cast<double>(counted.bytes()) - before);
            loss.backward();
            total += loss.item<double>();
          }
          ends.push_back(Now());
          held = static_cast<double>(counted.bytes());  // of the last step, when all copies stand
          return StepLoss{total, total};
        },
        .judge = [&](const StepReport& step) -> absl::StatusOr<Judgement> {
          // Each step counts as the best, and is copied.
          return Judgement{.score = -static_cast<double>(step.step)};
        }};
    const LoopOptions loop{.max_steps = 4,
                           .learning_rate = [](int64_t) { return 0.0; },
                           .max_grad_norm = 1,
                           .may_take_back = true};
    LETHE_RETURN_IF_ERROR(RunLoop(model_, hooks, loop).status());
    std::vector<double> slopes, rests;
    for (size_t i = 1; i < begins.size(); ++i) slopes.push_back(ends[i] - begins[i]);
    for (size_t i = 2; i < begins.size(); ++i) rests.push_back(begins[i] - ends[i - 1]);
    costs_.train_token_seconds = Median(slopes) / tokens;
    costs_.step_seconds = Median(rests);
    costs_.step_bytes = held;
    costs_.token_bytes = kept / padded;
    costs_.step_measured = true;
    return absl::OkStatus();
  }

  const Decoder& model_;
  const std::span<const Sequence> unseen_;
  const EvaluateResult& evaluated_;
  const CostOptions options_;
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
