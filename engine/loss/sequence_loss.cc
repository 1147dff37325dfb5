#include "engine/loss/sequence_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <numeric>

#include "engine/model/decoder.h"
#include "engine/model/first_choice.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

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

// Rows `members` of the caller's sequences as one batch, in the host's memory.
LossBatch MakeBatch(std::span<const Sequence> sequences, std::vector<size_t> members,
                    const BatchOptions& options, int64_t context) {
  const auto rounded = [&](int64_t size) { return options.in_buckets ? Bucket(size) : size; };
  int64_t longest = 0;
  for (const size_t m : members) {
    longest = std::max(longest, static_cast<int64_t>(sequences[m].ids.size()));
  }
  const int64_t width = std::min(rounded(longest), context);
  const int64_t height = rounded(static_cast<int64_t>(members.size()));
  LossBatch batch;
  batch.ids = at::zeros({height, width}, at::kLong);
  std::vector<int64_t> positions, targets;
  std::vector<float> lengths(height, 1.0F), counted;
  for (size_t b = 0; b < members.size(); ++b) {
    const Sequence& sequence = sequences[members[b]];
    const auto row = static_cast<int64_t>(b);
    std::copy(sequence.ids.begin(), sequence.ids.end(),
              batch.ids.data_ptr<int64_t>() + row * width);
    const std::vector<int64_t> places = LabelledPlaces(sequence, options.labels);
    for (const int64_t t : places) {
      positions.push_back(row * width + t - 1);  // the shift by one: position t-1 predicts token t
      targets.push_back(sequence.ids[t]);
    }
    batch.labelled.push_back(static_cast<int64_t>(places.size()));
    lengths[b] = static_cast<float>(places.size());
  }
  if (options.in_buckets) {
    counted.assign(positions.size(), 1.0F);
    counted.resize(rounded(static_cast<int64_t>(positions.size())), 0.0F);
    // A row's last place predicts nothing, so what does not count takes no label's place.
    positions.resize(counted.size(), height * width - 1);
    targets.resize(counted.size(), 0);
    batch.counted = at::tensor(counted, at::kFloat);
  }
  batch.positions = at::tensor(positions, at::kLong);
  batch.targets = at::tensor(targets, at::kLong);
  batch.lengths = at::tensor(lengths, at::kFloat);
  batch.sequences = std::move(members);
  return batch;
}

LossBatch OnDevice(LossBatch batch, const at::Device& device) {
  if (device.is_cpu()) return batch;
  for (at::Tensor* tensor :
       {&batch.ids, &batch.positions, &batch.targets, &batch.lengths, &batch.counted}) {
    if (tensor->defined()) *tensor = tensor->to(device);
  }
  return batch;
}

absl::Status CheckLabelled(const LanguageModel& model, std::span<const Sequence> sequences,
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
TokenLosses LossesAndTies(const LanguageModel& model, const LossBatch& batch,
                          const at::Tensor& hidden, std::span<const Sequence> sequences,
                          std::vector<int64_t>& ties) {
  const LossOptions options{.find_close = true};
  const std::vector<const Decoder*> members = model.Members();
  TokenLosses losses = members.size() == 1 ? OutputLoss(hidden, members.front()->OutputWeight(),
                                                        batch.targets, options)
                                           : LossesOfLogits(model, hidden, batch.targets, options);
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
void ScoreBatch(const LanguageModel& model, const LossBatch& batch,
                std::span<const Sequence> sequences, const ScoreHooks& hooks,
                std::vector<SequenceScore>& scores) {
  at::NoGradGuard no_grad;
  const at::Tensor all = hooks.read ? hooks.read(batch.ids) : model.Hidden(batch.ids);
  const at::Tensor hidden = all.index_select(0, batch.positions);  // (N,D)
  std::vector<int64_t> ties;
  const TokenLosses losses = LossesAndTies(model, batch, hidden, sequences, ties);
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
  if (hooks.also) hooks.also(batch, hidden, scores);
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

absl::StatusOr<std::vector<LossBatch>> MakeBatches(const LanguageModel& model,
                                                   std::span<const Sequence> sequences,
                                                   const BatchOptions& options) {
  LETHE_RETURN_IF_ERROR(CheckLabelled(model, sequences, options.labels));
  return CatchTorch("making batches", [&]() -> absl::StatusOr<std::vector<LossBatch>> {
    std::vector<LossBatch> batches;
    const std::vector<size_t> mine = MyShare(sequences, options.ranks);
    for (std::vector<size_t>& members : CutIntoBatches(sequences, mine, options.max_tokens)) {
      LossBatch batch = MakeBatch(sequences, std::move(members), options, model.context());
      batches.push_back(options.on_host ? std::move(batch)
                                        : OnDevice(std::move(batch), model.device()));
    }
    return batches;
  });
}

int64_t Bucket(int64_t size) {
  int64_t grain = 1;
  while (16 * grain <= size) grain *= 2;
  return (size + grain - 1) / grain * grain;
}

std::vector<at::Tensor> LossBatch::Tensors() const {
  std::vector<at::Tensor> tensors = {ids, positions, targets, lengths};
  if (counted.defined()) tensors.push_back(counted);
  return tensors;
}

LossBatch LossBatch::With(std::span<const at::Tensor> tensors) const {
  LossBatch other = *this;
  other.ids = tensors[0];
  other.positions = tensors[1];
  other.targets = tensors[2];
  other.lengths = tensors[3];
  if (counted.defined()) other.counted = tensors[4];
  return other;
}

int64_t LabelledTokens(std::span<const LossBatch> batches) {
  int64_t total = 0;
  for (const LossBatch& batch : batches) {
    total += std::accumulate(batch.labelled.begin(), batch.labelled.end(), int64_t{0});
  }
  return total;
}

int64_t LabelledTokens(std::span<const Sequence> sequences, Labels labels) {
  int64_t total = 0;
  for (const Sequence& sequence : sequences) {
    total += static_cast<int64_t>(LabelledPlaces(sequence, labels).size());
  }
  return total;
}

TokenLosses ComputeTokenLosses(const LanguageModel& model, const LossBatch& batch,
                               const LossOptions& options) {
  const at::Tensor hidden = model.Hidden(batch.ids).index_select(0, batch.positions);  // (N,D)
  const std::vector<const Decoder*> members = model.Members();
  TokenLosses losses = members.size() == 1
                           ? OutputLoss(hidden, members.front()->OutputWeight(), batch.targets,
                                        options, members.front()->RoundedOutputWeight())
                           : LossesOfLogits(model, hidden, batch.targets, options);
  if (batch.counted.defined()) losses.nll = losses.nll * batch.counted;
  return losses;
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
  return SumByRow(batch, values) / batch.lengths;
}

absl::StatusOr<std::vector<SequenceScore>> ScoreSequences(const LanguageModel& model,
                                                          std::span<const Sequence> sequences,
                                                          const BatchOptions& options,
                                                          const ScoreHooks& hooks) {
  LETHE_RETURN_IF_ERROR(CheckLabelled(model, sequences, options.labels));
  std::vector<SequenceScore> scores(sequences.size());
  const std::vector<size_t> mine = MyShare(sequences, options.ranks);
  for (const std::vector<size_t>& members : CutIntoBatches(sequences, mine, options.max_tokens)) {
    LETHE_RETURN_IF_ERROR(CatchTorchInHalves(
        "scoring sequences", std::span(members), [&](std::span<const size_t> some) {
          const LossBatch batch = OnDevice(MakeBatch(sequences, {some.begin(), some.end()},
                                                     {.labels = options.labels}, model.context()),
                                           model.device());
          ScoreBatch(model, batch, sequences, hooks, scores);
        }));
  }
  if (options.ranks != nullptr) {
    LETHE_RETURN_IF_ERROR(GatherScores(sequences, options.labels, *options.ranks, scores));
  }
  return scores;
}

}  // namespace lethe
