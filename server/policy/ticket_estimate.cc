#include "server/policy/ticket_estimate.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/convert.h"
#include "server/policy/ladder.h"

namespace lethe {
namespace {

TextSize SizeFrom(const v1::TextSize& size) {
  const auto count = [](int64_t n) { return std::max(0.0, static_cast<double>(n)); };
  const double square = std::isfinite(size.square_tokens()) ? size.square_tokens() : 0;
  return {count(size.sequences()), count(size.tokens()),      std::max(0.0, square),
          count(size.spans()),     count(size.span_tokens()), count(size.span_sequences())};
}

TextSize Find(const v1::ModelCosts& costs, const std::string& name) {
  const auto found = costs.texts().find(name);
  return found == costs.texts().end() ? TextSize() : SizeFrom(found->second);
}

v1::PreviewNotice Notice(const char* reason, std::string sentence) {
  v1::PreviewNotice notice;
  notice.set_reason(reason);
  notice.set_sentence(std::move(sentence));
  return notice;
}

std::string Gigabytes(double bytes) { return absl::StrFormat("%.3g GB", bytes / 1e9); }

void SetRange(const Range& seconds, v1::DurationRange* out) {
  ToDuration(absl::Seconds(seconds.low), out->mutable_low());
  ToDuration(absl::Seconds(seconds.typical), out->mutable_typical());
  ToDuration(absl::Seconds(seconds.high), out->mutable_high());
}

// What is left of it after `elapsed` seconds.
Range Rest(const Range& range, double elapsed) {
  return {std::max(0.0, range.low - elapsed), std::max(0.0, range.typical - elapsed),
          std::max(0.0, range.high - elapsed)};
}

Range Sum(Range a, const Range& b) {
  a += b;
  return a;
}

class Forecast {
 public:
  explicit Forecast(const ForecastInput& input)
      : input_(input),
        policy_(input.model.policy()),
        rung_(RungOf(policy_, input.rung)),
        method_(FindMethod(rung_.method())),
        preset_(method_ == nullptr ? nullptr : FindPreset(*method_, rung_.preset())),
        costs_(FromProto(input.model.facts().costs())) {}

  TicketForecast Make() const {
    TicketForecast forecast;
    if (preset_ == nullptr || !Usable(costs_)) {
      forecast.notices.push_back(
          Notice("NO_ESTIMATE",
                 "it is not known what work on this model costs: an older version prepared it, or "
                 "memory was too short to measure it; register the model again for an estimate"));
      return forecast;
    }
    forecast.estimate = MakeEstimate();
    AddNotices(*forecast.estimate, &forecast.notices);
    return forecast;
  }

 private:
  int64_t PerJob() const { return std::max(1, policy_.max_tickets_per_job()); }
  int64_t Waiting() const {
    return std::max<int64_t>(input_.backlog.waiting_in_all,
                             static_cast<int64_t>(input_.backlog.waiting.size()));
  }

  // Tickets number [begin, end) of the queue.
  TextSize Ahead(int64_t begin, int64_t end) const {
    const std::vector<TextSize>& known = input_.backlog.waiting;
    TextSize sum, all;
    for (const TextSize& size : known) all += size;
    const auto count = static_cast<int64_t>(known.size());
    for (int64_t i = begin; i < std::min(end, count); ++i) sum += known[static_cast<size_t>(i)];
    const auto unknown = static_cast<double>(std::max<int64_t>(0, end - std::max(begin, count)));
    if (unknown > 0 && count > 0) {
      const double times = unknown / static_cast<double>(count);
      sum += {times * all.sequences, times * all.tokens,      times * all.square_tokens,
              times * all.spans,     times * all.span_tokens, times * all.span_sequences};
    }
    return sum;
  }

  Estimate Run(const TextSize& forget) const {
    const v1::ModelCosts& costs = input_.model.facts().costs();
    Workload work{
        .forget = forget, .retain = Find(costs, "retain"), .holdout = Find(costs, "holdout")};
    for (const auto& [name, size] : costs.texts()) {
      if (absl::StartsWith(name, "other-")) work.others += AtMost(SizeFrom(size), kMaxUtility);
    }
    const ParameterValues overrides(rung_.overrides().begin(), rung_.overrides().end());
    work.parameters = ResolveParameters(method_->parameters, preset_->values, overrides);
    work.steps = ExpectedSteps(*preset_, work.parameters, forget.sequences, input_.history);
    for (const v1::AttackSpec& spec : policy_.attacks()) {
      const AttackEntry* entry = FindAttack(spec.attack());
      if (entry == nullptr) continue;
      const ParameterValues values(spec.parameters().begin(), spec.parameters().end());
      work.attacks.push_back(
          {spec.attack(), ResolveParameters(entry->parameters, {}, values), spec.condition()});
    }
    if (policy_.attacks().empty()) work.attacks = DefaultAttacks();
    return EstimateWork(costs_, work);
  }

  Range Wait() const {
    Range wait;
    if (const std::optional<ActiveJob>& active = input_.backlog.active) {
      const Estimate run = Run(active->forget);
      const double elapsed = std::max(0.0, absl::ToDoubleSeconds(active->elapsed));
      wait = active->verifies ? Rest(run.verify, elapsed)
                              : Sum(Rest(run.unlearn, elapsed), run.verify);
    }
    // Full jobs are alike: one is worked out, the rest are counted.
    const int64_t full = Waiting() / PerJob();
    if (full > 0) {
      const Estimate job = Run(Ahead(0, PerJob()));
      wait += static_cast<double>(full) * Sum(job.unlearn, job.verify);
    }
    if (Waiting() % PerJob() + 1 < PerJob()) {
      const double company = absl::ToDoubleSeconds(
          FromDuration(policy_.max_batch_wait()).value_or(absl::ZeroDuration()));
      wait += {0, company, company};
    }
    return {std::min(wait.low, kLongest), std::min(wait.typical, kLongest),
            std::min(wait.high, kLongest)};
  }

  v1::TicketEstimate MakeEstimate() const {
    const int64_t with = Waiting() % PerJob();
    TextSize together = Ahead(Waiting() - with, Waiting());
    together += input_.forget;
    const Estimate run = Run(together);
    v1::TicketEstimate out;
    SetRange(Sum(run.unlearn, run.verify), out.mutable_run());
    SetRange(Wait(), out.mutable_wait());
    SetRange(run.unlearn, out.mutable_unlearn());
    SetRange(run.verify, out.mutable_verify());
    out.mutable_steps()->set_low(std::llround(run.steps.low));
    out.mutable_steps()->set_typical(std::llround(run.steps.typical));
    out.mutable_steps()->set_high(std::llround(run.steps.high));
    out.set_past_runs(static_cast<int32_t>(input_.history.size()));
    out.set_tickets_together(with + 1);
    out.set_device_bytes(static_cast<int64_t>(std::min(run.device_bytes, 1e18)));
    out.set_worker_memory_bytes(static_cast<int64_t>(std::min(costs_.memory_bytes, 1e18)));
    return out;
  }

  void AddNotices(const v1::TicketEstimate& estimate,
                  std::vector<v1::PreviewNotice>* notices) const {
    if (!costs_.step_measured) {
      notices->push_back(Notice("STEP_NOT_MEASURED",
                                "a training step did not fit into the memory of the worker that "
                                "prepared the model: what one costs was worked out, not measured"));
    }
    const auto needed = static_cast<double>(estimate.device_bytes());
    if (costs_.memory_bytes > 0 && needed > costs_.memory_bytes) {
      notices->push_back(Notice(
          "MEMORY_SHORT",
          absl::StrCat("the run needs about ", Gigabytes(needed),
                       " of memory, and the worker that "
                       "prepared the model has ",
                       Gigabytes(costs_.memory_bytes), ": let a worker with more memory take it")));
    }
  }

  const ForecastInput& input_;
  const v1::ModelPolicy& policy_;
  const v1::Rung rung_;
  const MethodEntry* const method_;
  const PresetEntry* const preset_;
  const ModelCosts costs_;
};

}  // namespace

ModelCosts FromProto(const v1::ModelCosts& costs) {
  return {.score_token_seconds = costs.score_token_seconds(),
          .train_token_seconds = costs.train_token_seconds(),
          .rollout_token_seconds = costs.rollout_token_seconds(),
          .generate_token_seconds = costs.generate_token_seconds(),
          .step_seconds = costs.step_seconds(),
          .load_seconds = costs.load_seconds(),
          .save_seconds = costs.save_seconds(),
          .rollout_share = costs.rollout_share(),
          .weight_bytes = static_cast<double>(costs.weight_bytes()),
          .step_bytes = static_cast<double>(costs.step_bytes()),
          .token_bytes = static_cast<double>(costs.token_bytes()),
          .evaluation_bytes = static_cast<double>(costs.evaluation_bytes()),
          .memory_bytes = static_cast<double>(costs.memory_bytes()),
          .step_measured = costs.step_measured()};
}

TicketForecast ForecastTicket(const ForecastInput& input) { return Forecast(input).Make(); }

}  // namespace lethe
