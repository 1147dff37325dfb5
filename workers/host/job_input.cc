#include "workers/host/job_input.h"

#include "absl/time/clock.h"
#include "base/random.h"
#include "base/status.h"
#include "base/version.h"

namespace lethe {

namespace fs = std::filesystem;

absl::StatusOr<fs::path> UnderModels(const fs::path& models, const std::string& relative) {
  const fs::path path = fs::path(relative).lexically_normal();
  const bool inside =
      !relative.empty() && path.is_relative() && *path.begin() != ".." && path != ".";
  if (!inside) {
    return Error(absl::StatusCode::kInvalidArgument, "PATH_OUTSIDE",
                 "the job names a folder that is not inside the model folder");
  }
  return models / path;
}

std::vector<Sequence> SequencesOf(
    const google::protobuf::RepeatedPtrField<v1::TicketPayload>& tickets) {
  std::vector<Sequence> sequences;
  for (const v1::TicketPayload& ticket : tickets) {
    for (const v1::TokenSequence& given : ticket.sequences()) {
      Sequence sequence;
      sequence.ids.assign(given.ids().begin(), given.ids().end());
      sequence.prompt_tokens = given.prompt_tokens();
      for (const v1::Span& span : given.sensitive()) {
        sequence.sensitive.push_back({span.begin(), span.end()});
      }
      sequences.push_back(std::move(sequence));
    }
  }
  return sequences;
}

int64_t TokenCount(const std::vector<Sequence>& sequences) {
  int64_t tokens = 0;
  for (const Sequence& sequence : sequences) tokens += static_cast<int64_t>(sequence.ids.size());
  return tokens;
}

std::vector<Sequence> Thinned(std::vector<Sequence> sequences, size_t count) {
  if (sequences.size() <= count) return sequences;
  std::vector<Sequence> kept;
  kept.reserve(count);
  for (size_t i = 0; i < count; ++i)
    kept.push_back(std::move(sequences[i * sequences.size() / count]));
  return kept;
}

std::string DigestKey(const v1::Job& job) {
  return job.digest_key().empty() ? SecureRandom()->Bytes(32) : job.digest_key();
}

ModelThresholds FromProto(const v1::Thresholds& given) {
  ModelThresholds thresholds;
  for (const auto& [n, value] : given.el()) thresholds.el[n] = value;
  thresholds.ma = given.ma();
  thresholds.nll_mean = given.nll_mean();
  thresholds.nll_sd = given.nll_sd();
  thresholds.span_nll_mean = given.span_nll_mean();
  thresholds.span_nll_sd = given.span_nll_sd();
  thresholds.span_ma = given.span_ma();
  thresholds.sequences = given.sequences();
  return thresholds;
}

v1::Thresholds ToProto(const ModelThresholds& thresholds) {
  v1::Thresholds out;
  for (const auto& [n, value] : thresholds.el) (*out.mutable_el())[n] = value;
  out.set_ma(thresholds.ma);
  out.set_nll_mean(thresholds.nll_mean);
  out.set_nll_sd(thresholds.nll_sd);
  out.set_span_nll_mean(thresholds.span_nll_mean);
  out.set_span_nll_sd(thresholds.span_nll_sd);
  out.set_span_ma(thresholds.span_ma);
  out.set_sequences(thresholds.sequences);
  return out;
}

v1::ModelFacts ToProto(const ModelFacts& facts) {
  v1::ModelFacts out;
  out.set_architecture(facts.architecture);
  out.set_parameters(facts.parameters);
  out.set_vocab_size(facts.vocab_size);
  out.set_context_length(facts.context_length);
  out.set_dtype(facts.dtype);
  out.set_tokenizer_digest(facts.tokenizer_digest);
  out.set_folder_digest(facts.folder_digest);
  return out;
}

v1::ModelCosts ToProto(const ModelCosts& costs, const RunRecord& run) {
  v1::ModelCosts out;
  out.set_score_token_seconds(costs.score_token_seconds);
  out.set_train_token_seconds(costs.train_token_seconds);
  out.set_rollout_token_seconds(costs.rollout_token_seconds);
  out.set_generate_token_seconds(costs.generate_token_seconds);
  out.set_step_seconds(costs.step_seconds);
  out.set_load_seconds(costs.load_seconds);
  out.set_save_seconds(costs.save_seconds);
  out.set_rollout_share(costs.rollout_share);
  out.set_weight_bytes(static_cast<int64_t>(costs.weight_bytes));
  out.set_step_bytes(static_cast<int64_t>(costs.step_bytes));
  out.set_token_bytes(static_cast<int64_t>(costs.token_bytes));
  out.set_evaluation_bytes(static_cast<int64_t>(costs.evaluation_bytes));
  out.set_memory_bytes(static_cast<int64_t>(costs.memory_bytes));
  out.set_step_measured(costs.step_measured);
  out.set_device(run.device);
  out.set_threads(run.threads);
  return out;
}

v1::TextSize ToProto(const TextSize& size) {
  v1::TextSize out;
  out.set_sequences(static_cast<int64_t>(size.sequences));
  out.set_tokens(static_cast<int64_t>(size.tokens));
  out.set_square_tokens(size.square_tokens);
  out.set_spans(static_cast<int64_t>(size.spans));
  out.set_span_tokens(static_cast<int64_t>(size.span_tokens));
  out.set_span_sequences(static_cast<int64_t>(size.span_sequences));
  return out;
}

v1::RunRecord ToProto(const RunRecord& run) {
  v1::RunRecord out;
  out.set_method(run.method);
  out.set_preset(run.preset);
  for (const auto& [name, value] : run.hyperparameters)
    (*out.mutable_hyperparameters())[name] = value;
  out.set_seed(run.seed);
  out.set_data_digest(run.data_digest);
  out.set_device(run.device);
  out.set_threads(run.threads);
  for (const auto& [name, version] : run.libraries) (*out.mutable_libraries())[name] = version;
  out.set_stop_reason(run.stop_reason);
  out.set_steps(run.steps);
  out.set_seconds(run.seconds);
  out.set_lethe_version(LetheVersion());
  out.set_precision(run.precision);
  return out;
}

v1::Progress ToProto(const EngineProgress& progress) {
  v1::Progress out;
  out.set_phase(progress.phase);
  out.set_step(progress.step);
  out.set_max_steps(progress.max_steps);
  for (const auto& [name, value] : progress.figures) (*out.mutable_figures())[name] = value;
  return out;
}

bool ProgressBridge::OnProgress(const EngineProgress& progress) {
  const absl::Time now = absl::Now();
  const int64_t steps = progress.step - step_;
  if (since_ && progress.phase == phase_ && steps > 0) metrics_->StepDone((now - *since_) / steps);
  if (progress.phase != phase_ || steps != 0) since_ = now;
  phase_ = progress.phase;
  step_ = progress.step;
  control_->Report(ToProto(progress));
  return !control_->cancelled();
}

}  // namespace lethe
