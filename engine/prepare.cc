#include "engine/prepare.h"

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/file.h"
#include "engine/checkpoint/decoder_tensors.h"
#include "engine/checkpoint/ensemble_folder.h"
#include "engine/checkpoint/finite.h"
#include "engine/cost/measure_costs.h"
#include "engine/cost/tensor_memory.h"
#include "engine/metric/sequence_evaluation.h"
#include "engine/model/model_folder.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

std::string DTypeWord(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "float32";
    case DType::kF16:
      return "float16";
    case DType::kBF16:
      return "bfloat16";
    default:
      return std::string(DTypeName(dtype));
  }
}

std::string Architecture(const std::string& config_json) {
  const auto json = nlohmann::json::parse(config_json, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("architectures")) return "";
  const auto& list = json["architectures"];
  return list.is_array() && !list.empty() && list[0].is_string() ? list[0].get<std::string>() : "";
}

struct Spread {
  double mean = 0, sd = 0;
};

Spread SpreadOf(const std::vector<double>& values) {
  Spread spread;
  if (values.empty()) return spread;
  for (const double v : values) spread.mean += v / static_cast<double>(values.size());
  double squares = 0;
  for (const double v : values) squares += (v - spread.mean) * (v - spread.mean);
  if (values.size() > 1) spread.sd = std::sqrt(squares / static_cast<double>(values.size() - 1));
  return spread;
}

ModelThresholds ThresholdsOf(const std::vector<SequenceEvaluation>& unseen,
                             const std::vector<int>& el_n) {
  ModelThresholds thresholds{.sequences = static_cast<int>(unseen.size())};
  std::vector<double> nll, span_nll, ma, span_ma;
  std::map<int, std::vector<double>> el;
  for (const SequenceEvaluation& s : unseen) {
    nll.push_back(s.nll_per_token);
    ma.push_back(s.ma);
    if (s.span_nll_per_token.has_value()) span_nll.push_back(*s.span_nll_per_token);
    if (s.span_ma.has_value()) span_ma.push_back(*s.span_ma);
    for (const auto& [n, value] : s.el) el[n].push_back(value);
  }
  const Spread whole = SpreadOf(nll), spans = SpreadOf(span_nll);
  thresholds.nll_mean = whole.mean;
  thresholds.nll_sd = whole.sd;
  thresholds.ma = SpreadOf(ma).mean;
  if (span_nll.size() >= kMinHoldout) {
    thresholds.span_nll_mean = spans.mean;
    thresholds.span_nll_sd = spans.sd;
    thresholds.span_ma = SpreadOf(span_ma).mean;
  }
  for (const int n : el_n) {
    if (el[n].size() >= kMinHoldout) thresholds.el[n] = SpreadOf(el[n]).mean;
  }
  return thresholds;
}

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

absl::StatusOr<PrepareResult> LoadAndPrepare(const PrepareRequest& request,
                                             const ProgressCallback& progress) {
  const auto start = std::chrono::steady_clock::now();
  LETHE_RETURN_IF_ERROR(RefuseEnsemble(request.model_folder));
  if (request.holdout.size() < kMinHoldout) {
    return Error(absl::StatusCode::kInvalidArgument, "HOLDOUT_TOO_SMALL",
                 "at least " + std::to_string(kMinHoldout) + " unseen sequences are needed",
                 {{"sequences", std::to_string(request.holdout.size())}});
  }
  LETHE_RETURN_IF_ERROR(Report(progress, {"loading", 0, 0, {}}));
  PrepareResult result;
  LETHE_ASSIGN_OR_RETURN(result.facts, ReadModelFacts(request.model_folder));
  LETHE_ASSIGN_OR_RETURN(const ModelFolder loaded,
                         ModelFolder::Load(request.model_folder, request.device));
  const double load_seconds = SecondsSince(start);  // with the digest: what each job begins with
  LETHE_RETURN_IF_ERROR(CheckSequences(loaded.model, request.holdout, "holdout"));
  LETHE_RETURN_IF_ERROR(CheckSequences(loaded.model, request.retain, "retain"));
  const auto measured = std::chrono::steady_clock::now();
  const TensorMemory memory;
  LETHE_ASSIGN_OR_RETURN(
      const EvaluateResult unseen,
      EvaluateSequences(loaded.model, request.holdout, request.el_n, false, progress));
  const double unseen_seconds = SecondsSince(measured);
  const auto evaluation_bytes = static_cast<double>(memory.peak_bytes());
  result.thresholds = ThresholdsOf(unseen.sequences, request.el_n);
  const auto reading = std::chrono::steady_clock::now();
  LETHE_ASSIGN_OR_RETURN(const EvaluateResult kept,
                         EvaluateSequences(loaded.model, request.retain, {}, false, progress));
  const double kept_seconds = SecondsSince(reading);
  result.retain_nll = SetNll(kept.sequences);
  if (!std::isfinite(result.thresholds.nll_mean) || !std::isfinite(result.retain_nll)) {
    return Error(absl::StatusCode::kFailedPrecondition, "MODEL_NOT_FINITE",
                 "the model gives NaN or infinity on the holdout or retain text");
  }
  if (request.measure_costs) {
    LETHE_ASSIGN_OR_RETURN(
        const Precision precision,
        ChoosePrecision(request.precision, loaded.model.ParameterCount(), request.device));
    absl::StatusOr<ModelCosts> costs =
        MeasureCosts(loaded.model, request.holdout, unseen,
                     {.unseen_seconds = unseen_seconds,
                      .read_tokens = static_cast<double>(kept.forward_tokens),
                      .read_seconds = kept_seconds,
                      .precision = precision},
                     progress);
    if (absl::IsCancelled(costs.status())) return costs.status();
    // A model whose costs cannot be had, for lack of memory say, is as good as any other.
    result.costs = std::move(costs).value_or(ModelCosts());
    result.costs.load_seconds = load_seconds;
    result.costs.evaluation_bytes = evaluation_bytes;
  }
  result.run = NewRunRecord(request.device);
  result.run.method = "prepare";
  const std::span<const Sequence> sets[] = {request.holdout, request.retain};
  result.run.data_digest = DataDigest(request.digest_key, sets);
  result.run.seconds = SecondsSince(start);
  return result;
}

}  // namespace

absl::StatusOr<ModelFacts> ReadModelFacts(const std::filesystem::path& model_folder) {
  LETHE_ASSIGN_OR_RETURN(const CheckpointFolder folder, CheckpointFolder::Open(model_folder));
  LETHE_ASSIGN_OR_RETURN(const DecoderConfig config, ReadDecoderConfig(folder));
  LETHE_RETURN_IF_ERROR(CheckTensors(config, folder).status());
  LETHE_RETURN_IF_ERROR(CheckFinite(config, folder));
  ModelFacts facts{.architecture = Architecture(folder.config_json()),
                   .vocab_size = static_cast<int>(config.vocab_size),
                   .context_length = static_cast<int>(config.context)};
  for (const TensorRule& rule : DecoderTensors(config)) {
    const TensorInfo* info = folder.Find(rule.name);
    if (info == nullptr) continue;  // CheckTensors has spoken for it
    facts.parameters += info->elements();
    if (facts.dtype.empty()) facts.dtype = DTypeWord(info->dtype);
  }
  std::error_code error;
  if (std::filesystem::exists(model_folder / "tokenizer.json", error)) {
    LETHE_ASSIGN_OR_RETURN(facts.tokenizer_digest, FileDigest(model_folder / "tokenizer.json"));
  }
  LETHE_ASSIGN_OR_RETURN(facts.folder_digest, FolderDigest(model_folder));
  return facts;
}

absl::StatusOr<PrepareResult> PrepareModel(const PrepareRequest& request,
                                           const ProgressCallback& progress) {
  return CatchTorch("preparing the model", [&] { return LoadAndPrepare(request, progress); });
}

}  // namespace lethe
