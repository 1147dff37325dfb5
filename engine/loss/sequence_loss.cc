#include "engine/loss/sequence_loss.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_log_softmax.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/max.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "engine/model/cpu_kernels.h"
#include "engine/model/first_choice.h"
#include "engine/model/linear.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

bool RunsOurLoops(const at::Tensor& x) { return x.is_cpu() && x.scalar_type() == at::kFloat; }

// (n) bool for logits (n,V).
at::Tensor CloseOnDevice(const at::Tensor& logits) {
  const at::Tensor two = std::get<0>(logits.topk(std::min<int64_t>(2, logits.size(1)), 1));
  const at::Tensor largest = two.select(1, 0), second = two.select(1, two.size(1) - 1);
  if (two.size(1) < 2) return at::zeros_like(largest, at::kBool);
  return (largest - second).lt(largest.abs().clamp_min(1).mul(TieBound(1)));
}

// logits (n,V) become probabilities; nll (n) and choice (n) are filled, and close (n) where it is
// defined.
void SoftmaxInPlace(at::Tensor& logits, const at::Tensor& targets, at::Tensor nll,
                    at::Tensor choice, at::Tensor close = {}) {
  const int64_t rows = logits.size(0), width = logits.size(1);
  if (!RunsOurLoops(logits)) {
    if (close.defined()) close.copy_(CloseOnDevice(logits));
    const at::Tensor log_probabilities = at::_log_softmax(logits.to(at::kFloat), 1, false);
    nll.copy_(log_probabilities.gather(1, targets.unsqueeze(1)).squeeze(1).neg_());
    choice.copy_(std::get<1>(at::max(logits, 1)));
    logits.copy_(log_probabilities.exp());
    return;
  }
  float *data = logits.data_ptr<float>(), *losses = nll.data_ptr<float>();
  const int64_t* wanted = targets.const_data_ptr<int64_t>();
  int64_t* choices = choice.data_ptr<int64_t>();
  bool* ties = close.defined() ? close.data_ptr<bool>() : nullptr;
  const int64_t grain = std::max<int64_t>(1, 50'000 / width);  // some 30 microseconds
  at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const cpu::Choice made = cpu::Best().softmax_in_place(data + n * width, width, wanted[n]);
      losses[n] = made.nll;
      choices[n] = made.top.place;
      if (ties) ties[n] = made.top.largest - made.top.second < TieBound(made.top.largest);
    }
  });
}

// Rows of the logits that are computed at a time, and what is to be kept of them.
struct OutputPlan {
  int64_t chunk = 1;
  bool keep = false;
  bool find_close = false;
  at::ScalarType type = at::kFloat;  // of slopes and kept probabilities

  OutputPlan(const at::Tensor& weight, int64_t rows, at::ScalarType slopes,
             const LossOptions& options)
      : find_close(options.find_close), type(slopes) {
    const int64_t vocabulary = weight.size(0);
    const auto row_bytes = vocabulary * static_cast<int64_t>(sizeof(float));
    const auto kept_bytes = vocabulary * static_cast<int64_t>(c10::elementSize(slopes));
    chunk = std::max<int64_t>(1, std::min(rows, options.logit_bytes / row_bytes));
    keep = at::GradMode::is_enabled() && rows * kept_bytes <= options.kept_bytes;
  }
};

// Probabilities (n,V) fp32 of some rows; nll (n) and choice (n) are filled, and close (n) where it
// is defined.
at::Tensor Probabilities(const at::Tensor& hidden, const at::Tensor& weight,
                         const at::Tensor& targets, const at::Tensor& nll, const at::Tensor& choice,
                         const at::Tensor& close = {}) {
  at::Tensor logits = ProductWithTransposed(hidden.to(at::kFloat), weight);
  SoftmaxInPlace(logits, targets, nll, choice, close);
  return logits;
}

// dL/dlogits = grad (p - onehot(target)). p - 1 of a target comes from its loss: where p is nearly
// 1, a rounded p has nothing left of the difference.
at::Tensor Slopes(const at::Tensor& probabilities, const at::Tensor& targets, const at::Tensor& nll,
                  const at::Tensor& grad) {
  at::Tensor slope = probabilities.mul(grad.to(probabilities.scalar_type()).unsqueeze(1));
  const at::Tensor of_target = nll.neg().expm1_().mul_(grad).to(slope.scalar_type());
  return slope.scatter_(1, targets.unsqueeze(1), of_target.unsqueeze(1));
}

class OutputLossFunction : public Function<OutputLossFunction> {
 public:
  static variable_list forward(AutogradContext* ctx, const at::Tensor& hidden,
                               const at::Tensor& weight, const at::Tensor& targets,
                               const std::optional<at::Tensor>& rounded, const OutputPlan& plan) {
    const int64_t rows = hidden.size(0);
    at::Tensor nll = at::empty({rows}, hidden.options().dtype(at::kFloat));
    at::Tensor choice = at::empty({rows}, targets.options()), close, kept;
    if (plan.find_close) close = at::empty({rows}, targets.options().dtype(at::kBool));
    const at::Tensor wide = weight.to(at::kFloat);
    if (plan.keep) kept = at::empty({rows, weight.size(0)}, hidden.options().dtype(plan.type));
    for (int64_t row = 0; row < rows; row += plan.chunk) {
      const int64_t count = std::min(plan.chunk, rows - row);
      const auto some = [&](const at::Tensor& all) { return all.narrow(0, row, count); };
      const at::Tensor p = Probabilities(some(hidden), wide, some(targets), some(nll), some(choice),
                                         close.defined() ? some(close) : close);
      if (plan.keep) some(kept).copy_(p);
    }
    ctx->save_for_backward({hidden, weight, targets, rounded.value_or(wide), nll, kept});
    ctx->saved_data["chunk"] = plan.chunk;
    variable_list out = {nll, choice};
    if (close.defined()) out.push_back(close);
    ctx->mark_non_differentiable({out.begin() + 1, out.end()});
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &hidden = saved[0], &weight = saved[1], &targets = saved[2];
    const at::Tensor &used = saved[3], &nll = saved[4], &kept = saved[5], none;
    const bool weight_learns = ctx->needs_input_grad(1);
    if (kept.defined()) {
      const at::Tensor slope = Slopes(kept, targets, nll, grads[0]);
      at::Tensor grad_weight;
      if (weight_learns) {
        grad_weight = ProductWithTransposed(slope.t(), hidden.t()).to(weight.scalar_type());
      }
      return {ProductWithTransposed(slope, used.t()), grad_weight, none, none, none};
    }
    const int64_t rows = hidden.size(0), chunk = ctx->saved_data["chunk"].toInt();
    const at::Tensor wide = weight.to(at::kFloat);
    at::Tensor grad_hidden = at::empty_like(hidden), grad_weight;
    for (int64_t row = 0; row < rows; row += chunk) {
      const int64_t count = std::min(chunk, rows - row);
      const auto some = [&](const at::Tensor& all) { return all.narrow(0, row, count); };
      const at::Tensor p = Probabilities(some(hidden), wide, some(targets),
                                         at::empty_like(some(nll)), at::empty_like(some(targets)));
      const at::Tensor slope =
          Slopes(p.to(used.scalar_type()), some(targets), some(nll), some(grads[0]));
      some(grad_hidden).copy_(ProductWithTransposed(slope, used.t()));
      if (!weight_learns) continue;
      const at::Tensor part = ProductWithTransposed(slope.t(), some(hidden).t());
      if (!grad_weight.defined()) grad_weight = at::zeros_like(weight);
      grad_weight.add_(part);
    }
    return {grad_hidden, grad_weight, none, none, none};
  }
};

// The labelled tokens of a sequence, ascending.
std::vector<int64_t> LabelledPlaces(const Sequence& sequence, Labels labels) {
  const auto tokens = static_cast<int64_t>(sequence.ids.size());
  const int64_t first = std::max<int64_t>(1, sequence.prompt_tokens);
  std::vector<int64_t> places;
  if (labels == Labels::kAnswer || sequence.sensitive.empty()) {
    for (int64_t t = first; t < tokens; ++t) places.push_back(t);
    return places;
  }
  std::vector<bool> in_span(tokens, false);
  for (const Span& span : sequence.sensitive) {
    for (int64_t t = std::max<int64_t>(0, span.begin); t < std::min<int64_t>(tokens, span.end);
         ++t) {
      in_span[t] = true;
    }
  }
  for (int64_t t = first; t < tokens; ++t) {
    if (in_span[t]) places.push_back(t);
  }
  return places;
}

// Rows `members` of the caller's sequences as one batch.
LossBatch MakeBatch(std::span<const Sequence> sequences, std::vector<size_t> members, Labels labels,
                    const at::Device& device) {
  int64_t longest = 0;
  for (const size_t m : members) {
    longest = std::max(longest, static_cast<int64_t>(sequences[m].ids.size()));
  }
  const auto count = static_cast<int64_t>(members.size());
  LossBatch batch;
  batch.ids = at::zeros({count, longest}, at::kLong);
  std::vector<int64_t> positions, targets, rows;
  for (int64_t b = 0; b < count; ++b) {
    const Sequence& sequence = sequences[members[b]];
    std::copy(sequence.ids.begin(), sequence.ids.end(),
              batch.ids.data_ptr<int64_t>() + b * longest);
    const std::vector<int64_t> places = LabelledPlaces(sequence, labels);
    for (const int64_t t : places) {
      positions.push_back(b * longest + t - 1);  // the shift by one: position t-1 predicts token t
      targets.push_back(sequence.ids[t]);
      rows.push_back(b);
    }
    batch.labelled.push_back(static_cast<int64_t>(places.size()));
  }
  batch.ids = batch.ids.to(device);
  batch.positions = at::tensor(positions, at::kLong).to(device);
  batch.targets = at::tensor(targets, at::kLong).to(device);
  batch.rows = at::tensor(rows, at::kLong).to(device);
  batch.sequences = std::move(members);
  return batch;
}

absl::Status CheckLabelled(const Decoder& model, std::span<const Sequence> sequences,
                           Labels labels) {
  for (const Sequence& sequence : sequences) {
    LETHE_RETURN_IF_ERROR(model.CheckIds(sequence.ids, 2));
    if (LabelledPlaces(sequence, labels).empty()) {
      return Error(absl::StatusCode::kInvalidArgument, "NOTHING_LABELLED",
                   "a sequence has no token to score behind its prompt");
    }
  }
  return absl::OkStatus();
}

// Indexes of the sequences that a rank works on, longest first.
std::vector<size_t> ShareByLength(std::span<const Sequence> sequences, int rank, int ranks) {
  std::vector<size_t> order(sequences.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return sequences[a].ids.size() > sequences[b].ids.size();
  });
  return Deal(order, rank, ranks);
}

std::vector<size_t> MyShare(std::span<const Sequence> sequences, const Ranks* ranks) {
  if (ranks == nullptr) return ShareByLength(sequences, 0, 1);
  return ShareByLength(sequences, ranks->index(), ranks->count());
}

// `order`, longest first, cut into micro-batches.
std::vector<std::vector<size_t>> CutIntoBatches(std::span<const Sequence> sequences,
                                                const std::vector<size_t>& order,
                                                int64_t max_tokens) {
  std::vector<std::vector<size_t>> cut;
  for (size_t next = 0; next < order.size();) {
    // Sorted, so the first of a micro-batch is its longest.
    const auto longest = static_cast<int64_t>(sequences[order[next]].ids.size());
    const auto rows = static_cast<size_t>(std::max<int64_t>(1, max_tokens / longest));
    const size_t end = std::min(order.size(), next + rows);
    cut.emplace_back(order.begin() + next, order.begin() + end);
    next = end;
  }
  return cut;
}

// The losses of a batch, with the choices that fp32 cannot make made again; hidden (N,D); ties (B):
// how many.
TokenLosses LossesAndTies(const Decoder& model, const LossBatch& batch, const at::Tensor& hidden,
                          std::span<const Sequence> sequences, std::vector<int64_t>& ties) {
  TokenLosses losses =
      OutputLoss(hidden, model.OutputWeight(), batch.targets, {.find_close = true});
  ties.assign(batch.sequences.size(), 0);
  const at::Tensor close = losses.close.nonzero().view({-1});
  if (close.numel() == 0) return losses;
  const at::Tensor positions = batch.positions.index_select(0, close).cpu();
  const auto read = [&](int64_t row) {
    const int64_t position = positions.const_data_ptr<int64_t>()[row], T = batch.ids.size(1);
    const std::vector<int32_t>& ids = sequences[batch.sequences[position / T]].ids;
    ++ties[position / T];
    return std::vector<int32_t>(ids.begin(), ids.begin() + position % T + 1);
  };
  const FirstChoices made = ChooseFirst(model, hidden.index_select(0, close), read);
  const std::vector<int64_t> tokens(made.tokens.begin(), made.tokens.end());
  losses.choice.index_copy_(0, close, at::tensor(tokens, losses.choice.options()));
  return losses;
}

// Fills scores[s] for each sequence s of the batch.
void ScoreBatch(const Decoder& model, const LossBatch& batch, std::span<const Sequence> sequences,
                const HiddenReader& also, std::vector<SequenceScore>& scores) {
  at::NoGradGuard no_grad;
  const at::Tensor hidden = model.Hidden(batch.ids).index_select(0, batch.positions);  // (N,D)
  std::vector<int64_t> ties;
  const TokenLosses losses = LossesAndTies(model, batch, hidden, sequences, ties);
  if (also) also(batch, hidden);
  const at::Tensor nll = losses.nll.cpu(), choice = losses.choice.cpu();
  const at::Tensor target = batch.targets.cpu();
  const float* next_nll = nll.const_data_ptr<float>();
  const int64_t* next_choice = choice.const_data_ptr<int64_t>();
  const int64_t* next_target = target.const_data_ptr<int64_t>();
  for (size_t b = 0; b < batch.sequences.size(); ++b) {
    SequenceScore& score = scores[batch.sequences[b]];
    score.nll.assign(next_nll, next_nll + batch.labelled[b]);
    score.choice.assign(next_choice, next_choice + batch.labelled[b]);
    score.hits = 0;
    score.ties = ties[b];
    for (int64_t t = 0; t < batch.labelled[b]; ++t) score.hits += next_choice[t] == next_target[t];
    score.total_nll = std::accumulate(score.nll.begin(), score.nll.end(), 0.0);
    next_nll += batch.labelled[b];
    next_choice += batch.labelled[b];
    next_target += batch.labelled[b];
  }
}

void SetTotals(const Sequence& sequence, Labels labels, SequenceScore& score) {
  const std::vector<int64_t> places = LabelledPlaces(sequence, labels);
  score.hits = 0;
  for (size_t t = 0; t < places.size(); ++t)
    score.hits += score.choice[t] == sequence.ids[places[t]];
  score.total_nll = std::accumulate(score.nll.begin(), score.nll.end(), 0.0);
}

template <typename Value>
void Append(std::string& bytes, const std::vector<Value>& values) {
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Value));
}

template <typename Value>
bool Take(std::string_view& bytes, size_t count, std::vector<Value>& values) {
  if (bytes.size() < count * sizeof(Value)) return false;
  values.resize(count);
  bytes.copy(reinterpret_cast<char*>(values.data()), count * sizeof(Value));
  bytes.remove_prefix(count * sizeof(Value));
  return true;
}

// Fills in the scores of the sequences that other ranks have.
absl::Status GatherScores(std::span<const Sequence> sequences, Labels labels, Ranks& ranks,
                          std::vector<SequenceScore>& scores) {
  std::string mine;
  for (const size_t s : MyShare(sequences, &ranks)) {
    Append(mine, scores[s].nll);
    Append(mine, scores[s].choice);
  }
  LETHE_ASSIGN_OR_RETURN(const std::vector<std::string> all, ranks.Gather(mine));
  for (int r = 0; r < ranks.count(); ++r) {
    std::string_view bytes = all[static_cast<size_t>(r)];
    for (const size_t s : ShareByLength(sequences, r, ranks.count())) {
      const size_t count = LabelledPlaces(sequences[s], labels).size();
      if (!Take(bytes, count, scores[s].nll) || !Take(bytes, count, scores[s].choice)) {
        return Error(absl::StatusCode::kInternal, "RANKS_OUT_OF_STEP",
                     "a rank scored other sequences than this one; please report this");
      }
      SetTotals(sequences[s], labels, scores[s]);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<LossBatch>> MakeBatches(const Decoder& model,
                                                   std::span<const Sequence> sequences,
                                                   const BatchOptions& options) {
  LETHE_RETURN_IF_ERROR(CheckLabelled(model, sequences, options.labels));
  return CatchTorch("making batches", [&]() -> absl::StatusOr<std::vector<LossBatch>> {
    std::vector<LossBatch> batches;
    const std::vector<size_t> mine = MyShare(sequences, options.ranks);
    for (std::vector<size_t>& members : CutIntoBatches(sequences, mine, options.max_tokens)) {
      batches.push_back(MakeBatch(sequences, std::move(members), options.labels, model.device()));
    }
    return batches;
  });
}

int64_t LabelledTokens(std::span<const LossBatch> batches) {
  int64_t total = 0;
  for (const LossBatch& batch : batches) total += batch.positions.size(0);
  return total;
}

int64_t LabelledTokens(std::span<const Sequence> sequences, Labels labels) {
  int64_t total = 0;
  for (const Sequence& sequence : sequences) {
    total += static_cast<int64_t>(LabelledPlaces(sequence, labels).size());
  }
  return total;
}

TokenLosses OutputLoss(const at::Tensor& hidden, const at::Tensor& weight,
                       const at::Tensor& targets, const LossOptions& options,
                       const at::Tensor& rounded) {
  const auto used = rounded.defined() ? std::optional<at::Tensor>(rounded) : std::nullopt;
  const at::ScalarType type = rounded.defined() ? rounded.scalar_type() : at::kFloat;
  const variable_list out = OutputLossFunction::apply(
      hidden.to(type), weight, targets, used, OutputPlan(weight, hidden.size(0), type, options));
  return {.nll = out[0], .choice = out[1], .close = options.find_close ? out[2] : at::Tensor()};
}

TokenLosses ComputeTokenLosses(const Decoder& model, const LossBatch& batch,
                               const LossOptions& options) {
  const at::Tensor hidden = model.Hidden(batch.ids).index_select(0, batch.positions);  // (N,D)
  return OutputLoss(hidden, model.OutputWeight(), batch.targets, options,
                    model.RoundedOutputWeight());
}

at::Tensor SumByRow(const LossBatch& batch, const at::Tensor& values) {
  // Each value has a place of its own in (B,T), so no two are added in an order that a device may
  // choose.
  return at::zeros({batch.ids.numel()}, values.options().requires_grad(false))
      .index_copy(0, batch.positions, values)
      .view(batch.ids.sizes())
      .sum(1);
}

at::Tensor MeanByRow(const LossBatch& batch, const at::Tensor& values) {
  return SumByRow(batch, values) /
         at::tensor(batch.labelled, values.options().requires_grad(false));
}

absl::StatusOr<std::vector<SequenceScore>> ScoreSequences(const Decoder& model,
                                                          std::span<const Sequence> sequences,
                                                          const BatchOptions& options,
                                                          const HiddenReader& also) {
  LETHE_RETURN_IF_ERROR(CheckLabelled(model, sequences, options.labels));
  std::vector<SequenceScore> scores(sequences.size());
  const std::vector<size_t> mine = MyShare(sequences, options.ranks);
  for (const std::vector<size_t>& members : CutIntoBatches(sequences, mine, options.max_tokens)) {
    LETHE_RETURN_IF_ERROR(CatchTorchInHalves(
        "scoring sequences", std::span(members), [&](std::span<const size_t> some) {
          const LossBatch batch =
              MakeBatch(sequences, {some.begin(), some.end()}, options.labels, model.device());
          ScoreBatch(model, batch, sequences, also, scores);
        }));
  }
  if (options.ranks != nullptr) {
    LETHE_RETURN_IF_ERROR(GatherScores(sequences, options.labels, *options.ranks, scores));
  }
  return scores;
}

}  // namespace lethe
