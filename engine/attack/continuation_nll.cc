#include "engine/attack/continuation_nll.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <numeric>

#include "engine/torch_status.h"

namespace lethe {
namespace {

constexpr int64_t kLogitBytes = int64_t{24} << 20;

at::Tensor Ids(const std::vector<int64_t>& ids, const LanguageModel& model) {
  return at::tensor(ids, at::kLong).to(model.device());
}

// nll[i] -= log p of token `depth` of some[i] after hidden row nodes[i]; `nodes` ascending.
void AddTokens(const LanguageModel& model, const at::Tensor& hidden,
               std::span<const TokenIds* const> some, const std::vector<int64_t>& nodes,
               size_t depth, std::vector<double>& nll) {
  const int64_t rows = hidden.size(0);
  const int64_t chunk = std::max<int64_t>(1, kLogitBytes / (4 * model.vocab_size()));
  size_t next = 0;
  for (int64_t begin = 0; begin < rows; begin += chunk) {
    const int64_t count = std::min(chunk, rows - begin);
    const at::Tensor log_p =
        at::log_softmax(model.Logits(hidden.narrow(0, begin, count)).to(at::kFloat), 1);  // (n,V)
    std::vector<int64_t> row, token;
    const size_t first = next;
    for (; next < some.size() && nodes[next] < begin + count; ++next) {
      row.push_back(nodes[next] - begin);
      token.push_back((*some[next])[depth]);
    }
    const at::Tensor of_token =
        log_p.index({Ids(row, model), Ids(token, model)}).to(at::kDouble).cpu().contiguous();
    const double* values = of_token.const_data_ptr<double>();
    for (size_t i = first; i < next; ++i) nll[i] -= values[i - first];
  }
}

// `some`: sorted, so that what begins alike stands together. A node is a beginning that is read.
std::vector<double> NllOfBlock(const LanguageModel& model, ModelCache& cache,
                               const at::Tensor& last_hidden, int64_t prefix_tokens,
                               std::span<const TokenIds* const> some, int64_t* forward_tokens) {
  const size_t length = some.front()->size();
  std::vector<double> nll(some.size(), 0);
  std::vector<int64_t> nodes(some.size(), 0);
  AddTokens(model, last_hidden, some, nodes, 0, nll);
  cache.StartRows(std::vector<CacheRow>(
      some.size(),
      {.prefix = 0, .length = prefix_tokens, .room = static_cast<int64_t>(length) - 1}));
  for (size_t depth = 1; depth < length; ++depth) {
    std::vector<int64_t> rows, parents, next(some.size());
    std::vector<int32_t> tokens;
    for (size_t i = 0; i < some.size(); ++i) {
      const bool alike =
          i > 0 && std::equal(some[i]->begin(), some[i]->begin() + depth, some[i - 1]->begin());
      if (!alike) {
        rows.push_back(static_cast<int64_t>(rows.size()));
        parents.push_back(nodes[i]);
        tokens.push_back((*some[i])[depth - 1]);
      }
      next[i] = rows.back();
    }
    if (depth > 1) cache.ContinueAs(rows, parents);
    const at::Tensor hidden = cache.Step(rows, tokens);
    *forward_tokens += static_cast<int64_t>(rows.size());
    nodes = std::move(next);
    AddTokens(model, hidden, some, nodes, depth, nll);
  }
  return nll;
}

}  // namespace

absl::StatusOr<std::vector<double>> ContinuationNll(const LanguageModel& model,
                                                    const TokenIds& prefix,
                                                    std::span<const TokenIds> continuations,
                                                    int64_t* forward_tokens, int64_t cache_bytes) {
  if (continuations.empty()) return std::vector<double>();
  const auto length = static_cast<int64_t>(continuations.front().size());
  LETHE_RETURN_IF_ERROR(CheckPrompts(model, std::span(&prefix, 1), length));
  for (const TokenIds& c : continuations) LETHE_RETURN_IF_ERROR(model.CheckIds(c));
  std::vector<size_t> order(continuations.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return continuations[a] < continuations[b]; });
  std::vector<double> nll(continuations.size());
  return CatchTorch("scoring alternatives", [&]() -> absl::StatusOr<std::vector<double>> {
    at::NoGradGuard no_grad;
    const std::unique_ptr<ModelCache> cache = model.NewCache();
    const size_t one[] = {0};
    const at::Tensor last = ReadPrompts(*cache, model, std::span(&prefix, 1), one);  // (1,E)
    *forward_tokens += static_cast<int64_t>(prefix.size());
    const int64_t row_bytes = std::max<int64_t>(1, cache->RowBytes(length - 1));
    const auto block = static_cast<size_t>(std::max<int64_t>(1, cache_bytes / row_bytes));
    for (size_t begin = 0; begin < order.size(); begin += block) {
      std::vector<const TokenIds*> some;
      for (size_t i = begin; i < std::min(order.size(), begin + block); ++i) {
        some.push_back(&continuations[order[i]]);
      }
      const std::vector<double> part = NllOfBlock(
          model, *cache, last, static_cast<int64_t>(prefix.size()), some, forward_tokens);
      for (size_t i = 0; i < part.size(); ++i) nll[order[begin + i]] = part[i];
    }
    return std::move(nll);
  });
}

}  // namespace lethe
