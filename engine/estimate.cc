#include "engine/estimate.h"

#include <algorithm>
#include <cmath>

namespace lethe {
namespace {

// How far a machine was seen from what it measured of itself when it prepared the model
// (docs/engine.md): now idle and then shared, or the other way round.
constexpr double kFaster = 0.6, kSlower = 1.6;

// The share of its roll-outs that text still needs before it is forgotten: memorised text goes on
// by itself, and text that the model does not know has as many as unseen text.
constexpr Range kKnownShare = {0, 0.1, 1};
// How often the stop rule asks EL: once when all goes well, up to the patience of a run that comes
// down no further.
constexpr Range kElAsked = {1, 2, 30};

constexpr double kMostBytes = 1e18;

double Get(const ParameterValues& values, const char* name, double otherwise) {
  const auto found = values.find(name);
  return found == values.end() ? otherwise : found->second;
}

Range Plus(Range a, const Range& b) {
  a += b;
  return a;
}

Range Always(double seconds) { return {seconds, seconds, seconds}; }

// The work of EstimateWork, piece by piece.
class Estimator {
 public:
  Estimator(const ModelCosts& costs, const Workload& work) : costs_(costs), work_(work) {}

  Estimate Make() const {
    Estimate estimate{.steps = work_.steps, .step_seconds = Ending(StepSeconds(), kLongest)};
    estimate.unlearn = Limited(Unlearn());
    estimate.verify = Limited(Verify());
    const double step = StepBytes() + BatchTokens() * costs_.token_bytes;
    estimate.device_bytes =
        Ending(costs_.weight_bytes + std::max(step, costs_.evaluation_bytes), kMostBytes);
    return estimate;
  }

 private:
  double Parameter(const char* name, double otherwise) const {
    return Get(work_.parameters, name, otherwise);
  }
  double Read(double tokens) const { return tokens * costs_.score_token_seconds; }

  // EL: the text is read once, and its greedy mistakes roll out.
  Range Rollouts(const TextSize& size, const Range& share) const {
    return (costs_.rollout_token_seconds * costs_.rollout_share * size.square_tokens / 2) * share;
  }
  Range El(const TextSize& size, const Range& share) const {
    return Plus(Always(Read(size.tokens)), Rollouts(size, share));
  }

  // What unlearn.cc measures of one state.
  Range Measure(const Range& share) const {
    const double read = work_.forget.tokens + work_.retain.tokens + work_.holdout.tokens;
    return Plus(Always(Read(read)), El(work_.forget, share));
  }

  TextSize Probes() const {
    TextSize probes = AtMost(work_.retain, kProbeSequences);
    probes += AtMost(work_.holdout, kProbeSequences);
    return probes;
  }
  // The retain text that a step holds in place.
  TextSize Held() const {
    if (Parameter("retain_weight", 0) == 0) return {};
    return AtMost(work_.retain, Parameter("retain_batch", 16));
  }
  // What a step pushes: all of it, or a chunk.
  TextSize Pushed() const {
    const double chunk = Parameter("chunk_size", 0);
    return chunk > 0 ? AtMost(work_.forget, chunk) : work_.forget;
  }
  double Chunks() const {
    const double chunk = Parameter("chunk_size", 0);
    return chunk > 0 ? std::max(1.0, std::ceil(work_.forget.sequences / chunk)) : 1;
  }
  bool Bounded() const { return Parameter("bounded", 1) != 0; }

  // A step with its judge: the forgotten text is read again, and with a bounded preset the probes.
  double StepSeconds() const {
    const double pushed = Pushed().tokens;
    const double judged = pushed + (Bounded() ? Probes().tokens : 0);
    return (pushed + Held().tokens) * costs_.train_token_seconds + costs_.step_seconds +
           Read(judged);
  }

  Range Unlearn() const {
    Range seconds = Always(costs_.load_seconds + costs_.save_seconds);
    seconds += Measure(kKnownShare);
    seconds += Measure({1, 1, 1});
    seconds += Always(Read(work_.retain.tokens + Probes().tokens + work_.forget.tokens));
    seconds += StepSeconds() * work_.steps;
    const Range asked = El(Pushed(), {1, 1, 1});
    seconds += Chunks() * Range{kElAsked.low * asked.low, kElAsked.typical * asked.typical,
                                kElAsked.high * asked.high};
    return seconds;
  }

  Range Verify() const {
    const TextSize control = AtMost(work_.holdout, kMaxControl);
    const std::vector<AttackCost> attacks =
        CostOfAudit(work_.attacks, {.forgotten = work_.forget,
                                    .control = control,
                                    .retain = AtMost(work_.retain, kMaxUtility),
                                    .others = work_.others});
    Range seconds = Always(2 * costs_.load_seconds);
    for (const AttackCost& attack : attacks) seconds += Attack(attack);
    // The likelihoods of both come from the pass that attacks share; where none does, from their
    // own. What the registered sets have lost is read besides.
    const double own = SharesThePass() ? 0 : work_.forget.tokens + control.tokens;
    const double read =
        own + control.tokens + AtMost(work_.retain, kMaxUtility).tokens + work_.others.tokens;
    seconds += Always(2 * Read(read));
    return seconds;
  }

  bool SharesThePass() const {
    return std::any_of(work_.attacks.begin(), work_.attacks.end(), [](const PlannedAttack& a) {
      return a.condition.empty() && ReadsSharedPass(a.attack);
    });
  }

  Range Attack(const AttackCost& cost) const {
    Range seconds =
        Always(Read(cost.read) + cost.generated * costs_.generate_token_seconds +
               cost.taught * costs_.train_token_seconds + cost.steps * costs_.step_seconds);
    const double rolled = costs_.rollout_token_seconds * costs_.rollout_share;
    seconds += (rolled * cost.rolls_known) * kKnownShare;
    seconds += Always(rolled * cost.rolls_unseen);
    return seconds;
  }

  // Gradients, moments, and the copies that only a bounded run keeps: those from before the step
  // (weights and moments) and the best weights, 16 of its 28 bytes a parameter in fp32.
  double StepBytes() const { return Bounded() ? costs_.step_bytes : costs_.step_bytes * 12 / 28; }
  // The largest micro-batch of push and hold.
  double BatchTokens() const {
    const double most = std::max(Parameter("micro_batch_tokens", 4096), LongestToken());
    return std::min(most, std::max(Pushed().tokens, Held().tokens));
  }
  double LongestToken() const { return MeanLength(work_.forget); }

  Range Limited(const Range& seconds) const {
    return {Ending(kFaster * seconds.low, kLongest), Ending(seconds.typical, kLongest),
            Ending(kSlower * seconds.high, kLongest)};
  }
  // NaN, which infinity times nothing gives, ends there too.
  static double Ending(double value, double most) { return value < most ? value : most; }

  const ModelCosts& costs_;
  const Workload& work_;
};

}  // namespace

Range& Range::operator+=(const Range& more) {
  low += more.low;
  typical += more.typical;
  high += more.high;
  return *this;
}

Range operator*(double factor, const Range& range) {
  return {factor * range.low, factor * range.typical, factor * range.high};
}

bool Usable(const ModelCosts& costs) {
  for (const double needed : {costs.score_token_seconds, costs.train_token_seconds,
                              costs.rollout_token_seconds, costs.generate_token_seconds}) {
    if (!std::isfinite(needed) || needed <= 0) return false;
  }
  for (const double figure : {costs.step_seconds, costs.load_seconds, costs.save_seconds,
                              costs.rollout_share, costs.weight_bytes, costs.step_bytes,
                              costs.token_bytes, costs.evaluation_bytes, costs.memory_bytes}) {
    if (!std::isfinite(figure) || figure < 0) return false;
  }
  return true;
}

Range ExpectedSteps(const PresetEntry& preset, const ParameterValues& parameters, double sequences,
                    std::span<const PastRun> history) {
  const auto scale = [&](double of) {
    return std::pow(std::max(1.0, sequences) / std::max(1.0, of), preset.steps.growth);
  };
  Range steps{preset.steps.low, preset.steps.typical, preset.steps.high};
  steps = scale(1) * steps;
  if (!history.empty()) {
    std::vector<double> seen;
    for (const PastRun& run : history) seen.push_back(run.steps * scale(run.sequences));
    std::sort(seen.begin(), seen.end());
    // One run says little of the next: its own range is taken to be as wide as the preset's.
    const double known = 1.0 / static_cast<double>(seen.size());
    const double typical = seen[seen.size() / 2];
    const double below = preset.steps.low / preset.steps.typical;
    const double above = preset.steps.high / preset.steps.typical;
    steps = {std::min(seen.front(), typical * std::pow(below, known)), typical,
             std::max(seen.back(), typical * std::pow(above, known))};
  }
  const double chunk = Get(parameters, "chunk_size", 0);
  const double chunks = chunk > 0 ? std::max(1.0, std::ceil(sequences / chunk)) : 1;
  const double most = chunks * Get(parameters, "max_steps", 1e9);
  return {std::min(steps.low, most), std::min(steps.typical, most), std::min(steps.high, most)};
}

std::vector<PlannedAttack> DefaultAttacks() {
  std::vector<PlannedAttack> attacks;
  for (const PlanRow& row : Plans().front().rows) {
    attacks.push_back({std::string(row.attack),
                       ResolveParameters(FindAttack(row.attack)->parameters, {}, {}),
                       std::string(row.condition)});
  }
  return attacks;
}

Estimate EstimateWork(const ModelCosts& costs, const Workload& work) {
  return Estimator(costs, work).Make();
}

}  // namespace lethe
