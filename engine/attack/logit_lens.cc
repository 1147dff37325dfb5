// Logit lens and head projection (Patil et al. 2024): what each layer would say if the model ended
// behind it. Methods that change late layers leave the early ones knowing. Of an ensemble each member
// is looked into: who can read its layers has them one by one.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>

#include <algorithm>

#include "engine/attack/attack_table.h"
#include "engine/metric/span_score.h"
#include "engine/model/decoder.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

constexpr int64_t kLogitBytes = int64_t{24} << 20;

// hidden (N,E), targets (N) -> (N) bool on the CPU: among the k likeliest, of equals the lower ids.
std::vector<bool> AmongLikeliest(const LanguageModel& model, const at::Tensor& hidden,
                                 const at::Tensor& targets, int64_t k) {
  std::vector<bool> among;
  const int64_t chunk = std::max<int64_t>(1, kLogitBytes / (4 * model.vocab_size()));
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

// One sequence: which counted tokens some member has among its candidates.
struct Seen {
  std::vector<std::vector<bool>> by_layer;
  std::vector<bool> last;  // behind a last layer

  std::vector<bool> Somewhere() const {
    std::vector<bool> somewhere(last.size());
    for (const std::vector<bool>& layer : by_layer) {
      for (size_t t = 0; t < layer.size(); ++t) somewhere[t] = somewhere[t] || layer[t];
    }
    return somewhere;
  }
};

int64_t CountOf(const std::vector<bool>& found) {
  return std::count(found.begin(), found.end(), true);
}

void ReadBatch(const AttackInput& input, const LossBatch& batch, int64_t k,
               std::vector<Seen>& seen) {
  for (const size_t s : batch.sequences) seen[s] = {};
  for (const Decoder* member : input.model.Members()) {
    const int64_t last = member->config().num_layers - 1;
    member->VisitLayers(batch.ids, [&](int64_t layer, const at::Tensor& all) {
      const std::vector<bool> among =
          AmongLikeliest(*member, all.index_select(0, batch.positions), batch.targets, k);
      size_t next = 0;
      for (size_t b = 0; b < batch.sequences.size(); ++b) {
        Seen& here = seen[batch.sequences[b]];
        const auto depth = static_cast<size_t>(layer) + 1;
        const auto count = static_cast<size_t>(batch.labelled[b]);
        here.by_layer.resize(std::max(here.by_layer.size(), depth));
        here.by_layer[depth - 1].resize(count);
        here.last.resize(count);
        for (size_t i = 0; i < count; ++i, ++next) {
          if (!among[next]) continue;
          here.by_layer[depth - 1][i] = true;
          if (layer == last) here.last[i] = true;
        }
      }
    });
  }
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
    const auto tokens = static_cast<double>(seen[i].last.size());
    out.scores.push_back(static_cast<double>(CountOf(seen[i].Somewhere())) / tokens);
    const std::vector<std::vector<bool>>& layers = seen[i].by_layer;
    const auto half =
        std::find_if(layers.begin(), layers.end(), [&](const std::vector<bool>& found) {
          return 2 * static_cast<double>(CountOf(found)) >= tokens;
        });
    out.details["last_layer"].push_back(static_cast<double>(CountOf(seen[i].last)) / tokens);
    out.details["earliest_layer"].push_back(
        half == layers.end() ? 0 : static_cast<double>(half - layers.begin() + 1));
    out.forward_tokens += static_cast<int64_t>(input.sequences[i].ids.size());
  }
  return out;
}

}  // namespace lethe
