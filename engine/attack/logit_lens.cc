// Logit lens and head projection (Patil et al. 2024): what each layer would say if the model ended
// behind it. Methods that change late layers leave the early ones knowing.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>

#include <algorithm>

#include "engine/attack/attack_table.h"
#include "engine/metric/span_score.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

constexpr int64_t kLogitBytes = int64_t{24} << 20;

// hidden (N,E), targets (N) -> (N) bool on the CPU: among the k likeliest, of equals the lower ids.
std::vector<bool> AmongLikeliest(const Decoder& model, const at::Tensor& hidden,
                                 const at::Tensor& targets, int64_t k) {
  std::vector<bool> among;
  const int64_t chunk = std::max<int64_t>(1, kLogitBytes / (4 * model.config().vocab_size));
  for (int64_t begin = 0; begin < hidden.size(0); begin += chunk) {
    const int64_t count = std::min(chunk, hidden.size(0) - begin);
    const at::Tensor logits = model.Logits(hidden.narrow(0, begin, count));  // (n,V)
    const at::Tensor target = targets.narrow(0, begin, count).unsqueeze(1);  // (n,1)
    const at::Tensor its = logits.gather(1, target);                         // (n,1)
    const at::Tensor ids = at::arange(logits.size(1), targets.options()).unsqueeze(0);
    const at::Tensor before =
        logits.gt(its).logical_or(logits.eq(its).logical_and(ids < target)).sum(1);  // (n)
    const at::Tensor found = before.lt(k).cpu().contiguous();
    for (int64_t i = 0; i < count; ++i) among.push_back(found.const_data_ptr<bool>()[i]);
  }
  return among;
}

// One sequence: for each counted token, the layers that have it among their candidates.
struct Seen {
  std::vector<bool> somewhere;
  std::vector<int64_t> by_layer;  // tokens found
};

void ReadBatch(const AttackInput& input, const LossBatch& batch, int64_t k,
               std::vector<Seen>& seen) {
  for (const size_t s : batch.sequences) seen[s] = {};
  input.model.VisitLayers(batch.ids, [&](int64_t, const at::Tensor& all) {
    const std::vector<bool> among =
        AmongLikeliest(input.model, all.index_select(0, batch.positions), batch.targets, k);
    size_t next = 0;
    for (size_t b = 0; b < batch.sequences.size(); ++b) {
      Seen& here = seen[batch.sequences[b]];
      const auto count = static_cast<size_t>(batch.labelled[b]);
      here.somewhere.resize(count);
      int64_t found = 0;
      for (size_t i = 0; i < count; ++i, ++next) {
        found += among[next];
        if (among[next]) here.somewhere[i] = true;
      }
      here.by_layer.push_back(found);
    }
  });
}

}  // namespace

absl::StatusOr<AttackScores> LogitLens(const AttackInput& input) {
  const auto k = static_cast<int64_t>(input.parameters.at("k"));
  const BatchOptions options{.labels = input.on_spans ? Labels::kSensitive : Labels::kAnswer};
  LETHE_ASSIGN_OR_RETURN(const auto batches, MakeBatches(input.model, input.sequences, options));
  std::vector<Seen> seen(input.sequences.size());
  for (const LossBatch& batch : batches) {
    LETHE_RETURN_IF_ERROR(CatchTorch("reading layers", [&] { ReadBatch(input, batch, k, seen); }));
  }
  AttackScores out;
  for (size_t i = 0; i < seen.size(); ++i) {
    const auto tokens = static_cast<double>(seen[i].somewhere.size());
    const auto found = std::count(seen[i].somewhere.begin(), seen[i].somewhere.end(), true);
    out.scores.push_back(static_cast<double>(found) / tokens);
    const std::vector<int64_t>& layers = seen[i].by_layer;
    const auto half = std::find_if(layers.begin(), layers.end(),
                                   [&](int64_t n) { return 2 * static_cast<double>(n) >= tokens; });
    out.details["last_layer"].push_back(static_cast<double>(layers.back()) / tokens);
    out.details["earliest_layer"].push_back(
        half == layers.end() ? 0 : static_cast<double>(half - layers.begin() + 1));
    out.forward_tokens += static_cast<int64_t>(input.sequences[i].ids.size());
  }
  return out;
}

}  // namespace lethe
