#include "engine/model/first_choice.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/model/decoder.h"
#include "engine/model/ensemble_model.h"
#include "engine/model/row_tasks.h"

namespace lethe {
namespace {

constexpr int64_t kLogitBytes = int64_t{64} << 20;
constexpr int64_t kDeviceLogitBytes = int64_t{512} << 20;  // where each pass costs launches
constexpr int64_t kWeightRows = 4096;  // of the output weight that are in float64 at a time

// Of the number type, at the best logit's size. A real model's largest error of a distance was 50
// (docs/engine.md, "Ties"); twice as many would cost twice as many float64 passes.
constexpr double kSteps = 64;

double Bound(double largest, double step) {
  return kSteps * step * std::max(1.0, std::abs(largest));
}

// Whether tokens (n) have equal logits whatever was read: all rows of each output weight are equal.
bool AlwaysEqual(const LanguageModel& model, const at::Tensor& tokens) {
  for (const Decoder* member : model.Members()) {
    const at::Tensor rows = member->OutputWeight().index_select(0, tokens);
    if (!rows.eq(rows.narrow(0, 0, 1)).all().item<bool>()) return false;
  }
  return true;
}

// Logits (V) after ids (T) in float64.
at::Tensor LogitsInDouble(const Decoder& model, const at::Tensor& ids) {
  const at::Tensor hidden = model.HiddenInDouble(ids.unsqueeze(0)).select(0, ids.size(0) - 1);
  const at::Tensor weight = model.OutputWeight().detach();
  const int64_t vocabulary = weight.size(0);
  std::vector<at::Tensor> parts;
  for (int64_t row = 0; row < vocabulary; row += kWeightRows) {
    const int64_t count = std::min(kWeightRows, vocabulary - row);
    parts.push_back(at::mv(weight.narrow(0, row, count).to(at::kDouble), hidden).cpu());
  }
  return at::cat(parts);
}

// Decides between the tokens whose logits (V) are within the bound of the largest.
int32_t BreakTie(const LanguageModel& model, const at::Tensor& logits, double largest,
                 const std::vector<int32_t>& text) {
  const at::Tensor close =
      logits.to(at::kDouble).ge(largest - TieBound(largest)).nonzero().view({-1});
  if (AlwaysEqual(model, close)) return static_cast<int32_t>(close[0].item<int64_t>());
  return ChooseInDouble(model, text).token;
}

}  // namespace

double TieBound(double largest) { return Bound(largest, std::numeric_limits<float>::epsilon()); }

std::vector<cpu::TopTwo> BestTwo(const at::Tensor& logits) {
  const int64_t rows = logits.size(0), vocabulary = logits.size(1);
  std::vector<cpu::TopTwo> best(rows);
  if (!RunsOurLoops(logits) || logits.scalar_type() != at::kFloat) {
    // The largest twice, the first time's put aside meanwhile: sorting reads a row more often.
    constexpr double never = -std::numeric_limits<double>::infinity();
    const auto [largest, place] = logits.max(1);  // (n)
    const at::Tensor where = place.unsqueeze(1);
    logits.scatter_(1, where, never);
    const at::Tensor second = logits.amax(1);
    logits.scatter_(1, where, largest.unsqueeze(1));
    const at::Tensor told =
        at::stack({largest.to(at::kDouble), second.to(at::kDouble), place.to(at::kDouble)}).cpu();
    const double* value = told.const_data_ptr<double>();
    for (int64_t n = 0; n < rows; ++n) {
      best[n] = {.place = static_cast<int64_t>(value[2 * rows + n]),
                 .largest = static_cast<float>(value[n]),
                 .second = static_cast<float>(value[rows + n])};
    }
    return best;
  }
  const float* from = logits.const_data_ptr<float>();
  const int64_t grain = std::max<int64_t>(1, 400'000 / vocabulary);
  at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      best[n] = cpu::Best().top_two(from + n * vocabulary, vocabulary);
    }
  });
  return best;
}

FirstChoices ChooseFirst(const LanguageModel& model, const at::Tensor& hidden,
                         const TextBefore& text) {
  at::NoGradGuard no_grad;
  const int64_t rows = hidden.size(0), vocabulary = model.vocab_size();
  const int64_t bytes = hidden.is_cpu() ? kLogitBytes : kDeviceLogitBytes;
  const int64_t chunk = std::max<int64_t>(1, bytes / (4 * vocabulary));
  FirstChoices made;
  for (int64_t row = 0; row < rows; row += chunk) {
    // A bf16 decoder's logits, too, are fp32: rounded ones would be ties.
    const at::Tensor read = hidden.narrow(0, row, std::min(chunk, rows - row));
    const at::Tensor logits =
        model.Logits(read.scalar_type() == at::kBFloat16 ? read.to(at::kFloat) : read);
    const std::vector<cpu::TopTwo> best = BestTwo(logits);
    for (size_t n = 0; n < best.size(); ++n) {
      const cpu::TopTwo& two = best[n];
      made.tokens.push_back(static_cast<int32_t>(two.place));
      if (!(two.largest - two.second < TieBound(two.largest))) continue;
      const std::vector<int32_t> read = text(row + static_cast<int64_t>(n));
      if (read.empty()) continue;
      made.tokens.back() = BreakTie(model, logits[static_cast<int64_t>(n)], two.largest, read);
      ++made.ties;
    }
  }
  return made;
}

PreciseChoice ChooseInDouble(const LanguageModel& model, std::span<const int32_t> text) {
  at::NoGradGuard no_grad;
  const at::Tensor ids =
      at::tensor(std::vector<int64_t>(text.begin(), text.end()), at::kLong).to(model.device());
  std::vector<at::Tensor> members;  // (1,V) each
  for (const Decoder* member : model.Members()) {
    members.push_back(LogitsInDouble(*member, ids).unsqueeze(0));
  }
  const at::Tensor of_all = LogitsOfMean(members).contiguous();
  const std::span<const double> logits(of_all.const_data_ptr<double>(),
                                       static_cast<size_t>(of_all.numel()));
  const double largest = *std::max_element(logits.begin(), logits.end());
  const double equal = largest - Bound(largest, std::numeric_limits<double>::epsilon());
  PreciseChoice choice{.token = -1, .margin = std::numeric_limits<double>::infinity()};
  for (size_t id = 0; id < logits.size(); ++id) {
    if (logits[id] < equal) {
      choice.margin = std::min(choice.margin, largest - logits[id]);
    } else if (choice.token < 0) {
      choice.token = static_cast<int32_t>(id);
    }
  }
  return choice;
}

}  // namespace lethe
