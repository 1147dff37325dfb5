// What unseen text looks like to a model, measured once when it is registered.
//
//   PrepareRequest request{.model_folder = folder, .holdout = holdout, .retain = retain,
//                          .el_n = {3, 5, 10}};
//   LETHE_ASSIGN_OR_RETURN(PrepareResult result, PrepareModel(request, progress));
//   store(result.thresholds);   // handed back in each UnlearnRequest
//
// A sequence counts as forgotten when it looks no more memorised than unseen text of its kind does
// (Jang et al., ACL 2023). So `holdout` has to be of the kind that tickets will name, and must never
// have been trained on; nobody can check the latter here. The folder is only read.
// Costs      beside the thresholds it measures what work on the model takes on this machine
//            (cost/measure_costs.h), from which engine/estimate.h says how long a ticket takes.
// Threads    as Evaluate.
// Errors     as Evaluate; INVALID_ARGUMENT/HOLDOUT_TOO_SMALL below kMinHoldout sequences
//            (catalog.h); FAILED_PRECONDITION/MODEL_NOT_FINITE when a weight is NaN or infinite
//            (metadata "tensor"; ReadModelFacts says so too), or the model gives such on the text.
#ifndef LETHE_ENGINE_PREPARE_H_
#define LETHE_ENGINE_PREPARE_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/catalog.h"
#include "engine/device.h"
#include "engine/estimate.h"
#include "engine/progress.h"
#include "engine/run_record.h"
#include "text/sequence.h"

namespace lethe {

struct ModelFacts {
  std::string architecture;  // "LlamaForCausalLM"
  int64_t parameters = 0;
  int vocab_size = 0;
  int context_length = 0;        // tokens
  std::string dtype;             // of the stored weights: "float32", "bfloat16", "float16"
  std::string tokenizer_digest;  // SHA-256 of tokenizer.json; empty where there is none
  std::string folder_digest;     // base/digest.h
};

// Means over unseen sequences.
struct ModelThresholds {
  std::map<int, double> el;  // by n; an n for which too few sequences are long enough is absent
  double ma = 0;
  double nll_mean = 0;       // nats a token
  double nll_sd = 0;         // over sequences
  double span_nll_mean = 0;  // on sensitive spans; 0 when fewer than kMinHoldout sequences have any
  double span_nll_sd = 0;
  double span_ma = 0;  // MA on the spans alone; likewise
  int sequences = 0;
};

struct PrepareRequest {
  std::filesystem::path model_folder;
  std::vector<Sequence> holdout;
  std::vector<Sequence> retain;
  std::vector<int> el_n = {3, 5, 10};
  bool measure_costs = true;
  std::string precision = "auto";  // that steps will be made in, for their costs
  std::string digest_key;          // of RunRecord.data_digest
  Device device;
};

struct PrepareResult {
  ModelFacts facts;
  ModelThresholds thresholds;
  ModelCosts costs;       // not Usable where they were not asked for, or memory was too short
  double retain_nll = 0;  // nats a token over the whole set; 0 without one
  RunRecord run;
};

absl::StatusOr<PrepareResult> PrepareModel(const PrepareRequest& request,
                                           const ProgressCallback& progress = nullptr);

// Facts alone, without running the model: what register --validate-only can say.
absl::StatusOr<ModelFacts> ReadModelFacts(const std::filesystem::path& model_folder);

}  // namespace lethe

#endif  // LETHE_ENGINE_PREPARE_H_
