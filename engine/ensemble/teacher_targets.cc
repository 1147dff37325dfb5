#include "engine/ensemble/teacher_targets.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/xlogy.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <string>

#include "engine/seeded_generator.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

// Sequences that go through the teachers together, and the whole rows of their labelled tokens.
struct Group {
  std::vector<size_t> members;
  std::vector<int64_t> first_row;  // of each member
  int64_t rows = 0;
  at::Tensor sum;  // (rows,V) fp32, on the teachers' device
  at::Tensor own;  // (rows) int64: the text's tokens
};

std::vector<std::vector<size_t>> CutIntoGroups(std::span<const Sequence> sequences,
                                               int64_t vocabulary, int64_t row_bytes) {
  std::vector<std::vector<size_t>> groups;
  int64_t bytes = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const int64_t mine = 4 * vocabulary * LabelledTokens(sequences.subspan(s, 1));
    if (groups.empty() || bytes + mine > row_bytes) {
      groups.emplace_back();
      bytes = 0;
    }
    groups.back().push_back(s);
    bytes += mine;
  }
  return groups;
}

Group MakeGroup(std::vector<size_t> members, std::span<const Sequence> sequences) {
  Group group{.members = std::move(members)};
  int64_t rows = 0;
  for (const size_t s : group.members) {
    group.first_row.push_back(rows);
    rows += LabelledTokens(sequences.subspan(s, 1));
  }
  group.rows = rows;
  return group;
}

// The group's rows that the labelled tokens of a batch belong to; `places` are the batch's
// sequences as places in the group.
at::Tensor RowsOf(const Group& group, const LossBatch& batch, std::span<const size_t> places) {
  std::vector<at::Tensor> rows;
  for (size_t b = 0; b < batch.sequences.size(); ++b) {
    const int64_t first = group.first_row[places[batch.sequences[b]]];
    rows.push_back(at::arange(first, first + batch.labelled[b], at::kLong));
  }
  return at::cat(rows).to(group.sum.device());
}

// Adds what one teacher says, about the members whom it teaches.
absl::Status AddTeacher(const Decoder& teacher, std::span<const Sequence> sequences,
                        std::span<const size_t> places, int64_t max_tokens, Group& group) {
  std::vector<Sequence> taught;
  for (const size_t place : places) taught.push_back(sequences[group.members[place]]);
  LETHE_ASSIGN_OR_RETURN(const auto batches,
                         MakeBatches(teacher, taught, {.max_tokens = max_tokens}));
  if (!group.sum.defined()) {
    const at::TensorOptions here(teacher.device());
    group.sum = at::zeros({group.rows, teacher.config().vocab_size}, here.dtype(at::kFloat));
    group.own = at::zeros({group.rows}, here.dtype(at::kLong));
  }
  bool finite = true;
  for (const LossBatch& batch : batches) {
    const at::Tensor rows = RowsOf(group, batch, places);
    group.own.index_copy_(0, rows, batch.targets);
    VisitProbabilities(teacher, batch, [&](int64_t row, const at::Tensor& p) {
      finite = finite && p.sum().isfinite().item<bool>();
      group.sum.index_add_(0, rows.narrow(0, row, p.size(0)), p);
    });
  }
  if (finite) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "MODEL_NOT_FINITE",
               "a teacher gives NaN or infinity on what is to be forgotten");
}

// One draw from each row of q (T,V), by the inverse of its distribution function.
at::Tensor DrawFrom(const at::Tensor& q, uint64_t seed) {
  SeededGenerator random(seed);
  at::Tensor drawn = at::empty({q.size(0)}, at::kInt);
  for (int64_t t = 0; t < q.size(0); ++t) {
    const float* row = q.const_data_ptr<float>() + t * q.size(1);
    double total = 0;
    for (int64_t v = 0; v < q.size(1); ++v) total += row[v];
    double left = random.Uniform() * total;
    int64_t token = 0;
    while (token + 1 < q.size(1) && (left -= row[token]) >= 0) ++token;
    drawn.data_ptr<int32_t>()[t] = static_cast<int32_t>(token);
  }
  return drawn;
}

// The k likeliest of q (T,V), with the text's own tokens (T) among them.
SequenceTargets KeepSome(const at::Tensor& q, const at::Tensor& own, int64_t k) {
  SequenceTargets kept;
  auto [top, ids] = q.topk(k, 1);
  const at::Tensor label = own.unsqueeze(1);               // (T,1)
  const at::Tensor is_there = ids.eq(label).any(1, true);  // (T,1)
  at::Tensor last_id = ids.narrow(1, k - 1, 1), last = top.narrow(1, k - 1, 1);
  last_id.copy_(at::where(is_there, last_id, label));
  last.copy_(at::where(is_there, last, q.gather(1, label)));
  kept.ids = ids.to(at::kInt);
  kept.probabilities = top.contiguous();
  kept.rest = (1 - top.to(at::kDouble).sum(1)).clamp_min_(0).to(at::kFloat);
  return kept;
}

// What is kept of the mean distributions q (T,V).
SequenceTargets Keep(const at::Tensor& q, const at::Tensor& own, int64_t k, uint64_t seed) {
  SequenceTargets kept;
  if (k >= q.size(1)) {
    kept.ids = at::empty({q.size(0), 0}, at::kInt);
    kept.probabilities = q;
    kept.rest = at::zeros({q.size(0)});
  } else {
    kept = KeepSome(q, own, k);
  }
  const at::Tensor p = kept.probabilities.to(at::kDouble), r = kept.rest.to(at::kDouble);
  kept.entropy = (at::xlogy(p, p).sum(1) + at::xlogy(r, r)).neg_().to(at::kFloat);
  kept.own = q.gather(1, own.unsqueeze(1)).squeeze(1).clamp_min_(1e-30).log_();
  kept.likeliest = q.argmax(1).to(at::kInt);
  kept.drawn = DrawFrom(q, seed);
  return kept;
}

class TargetMaker {
 public:
  TargetMaker(const TeacherSet& teachers, std::span<const Sequence> sequences,
              const TargetOptions& options, const ProgressCallback& progress)
      : teachers_(teachers), sequences_(sequences), options_(options), progress_(progress) {
    targets_.resize(sequences.size());
  }

  absl::StatusOr<std::vector<SequenceTargets>> Make() {
    at::NoGradGuard no_grad;
    const auto cut = CutIntoGroups(sequences_, teachers_.vocab_size(), options_.row_bytes);
    to_load_ = static_cast<int64_t>(cut.size() * teachers_.count());
    for (const std::vector<size_t>& members : cut) {
      Group group = MakeGroup(members, sequences_);
      for (size_t i = 0; i < teachers_.count(); ++i) LETHE_RETURN_IF_ERROR(Ask(i, group));
      Finish(group);
    }
    return std::move(targets_);
  }

 private:
  absl::Status Ask(size_t teacher, Group& group) {
    LETHE_RETURN_IF_ERROR(Report(progress_, {"measuring", loaded_++, to_load_, {}}));
    std::vector<size_t> places;
    for (size_t i = 0; i < group.members.size(); ++i) {
      if (teachers_.Teaches(teacher, group.members[i])) places.push_back(i);
    }
    if (places.empty()) return absl::OkStatus();
    LETHE_ASSIGN_OR_RETURN(const ModelFolder loaded, teachers_.Load(teacher));
    const absl::Status status =
        AddTeacher(loaded.model, sequences_, places, options_.max_tokens, group);
    return status.ok() ? status : OfTeacher(status, teacher);
  }

  void Finish(const Group& group) {
    const int64_t k = options_.kept > 0 ? options_.kept : group.sum.size(1);
    for (size_t i = 0; i < group.members.size(); ++i) {
      const size_t s = group.members[i];
      const int64_t rows = LabelledTokens(sequences_.subspan(s, 1));
      const at::Tensor sum = group.sum.narrow(0, group.first_row[i], rows).cpu();
      const at::Tensor own = group.own.narrow(0, group.first_row[i], rows).cpu();
      const at::Tensor q = sum.div(static_cast<double>(teachers_.TeachersOf(s)));
      targets_[s] = Keep(q, own, k, options_.seed ^ KeyOf(sequences_[s].ids));
    }
  }

  const TeacherSet& teachers_;
  const std::span<const Sequence> sequences_;
  const TargetOptions& options_;
  const ProgressCallback& progress_;
  std::vector<SequenceTargets> targets_;
  int64_t loaded_ = 0, to_load_ = 0;
};

// One token, of mass 1.
SoftLabels Certain(const at::Tensor& tokens) {
  return {.ids = tokens.to(at::kLong).unsqueeze(1),
          .probabilities = at::ones({tokens.size(0), 1}),
          .rest = at::zeros({tokens.size(0)})};
}

SoftLabels LabelsOfOne(const SequenceTargets& targets, Towards towards) {
  if (towards == Towards::kLikeliest) return Certain(targets.likeliest);
  if (towards == Towards::kDrawn) return Certain(targets.drawn);
  return {.ids = targets.ids.to(at::kLong),
          .probabilities = targets.probabilities,
          .rest = targets.rest};
}

// Rows for what buckets have added, which counts for nothing: all of the mass in the rest.
SoftLabels Nothing(int64_t rows, const SoftLabels& like) {
  const int64_t k = like.probabilities.size(1);
  return {.ids = at::arange(like.ids.size(1), at::kLong).expand({rows, -1}),
          .probabilities = at::zeros({rows, k}),
          .rest = at::ones({rows})};
}

}  // namespace

SequenceTargets SequenceTargets::At(std::span<const size_t> rows) const {
  const at::Tensor chosen = at::tensor(std::vector<int64_t>(rows.begin(), rows.end()), at::kLong);
  SequenceTargets some;
  for (const auto member :
       {&SequenceTargets::ids, &SequenceTargets::probabilities, &SequenceTargets::rest,
        &SequenceTargets::entropy, &SequenceTargets::own, &SequenceTargets::likeliest,
        &SequenceTargets::drawn}) {
    some.*member = (this->*member).index_select(0, chosen);
  }
  return some;
}

absl::StatusOr<std::vector<SequenceTargets>> MakeTeacherTargets(const TeacherSet& teachers,
                                                                std::span<const Sequence> sequences,
                                                                const TargetOptions& options,
                                                                const ProgressCallback& progress) {
  return CatchTorch("asking the teachers",
                    [&] { return TargetMaker(teachers, sequences, options, progress).Make(); });
}

SoftLabels LabelsOf(const LossBatch& batch, std::span<const SequenceTargets> targets,
                    Towards towards) {
  std::vector<at::Tensor> ids, probabilities, rest;
  const auto add = [&](const SoftLabels& labels) {
    ids.push_back(labels.ids);
    probabilities.push_back(labels.probabilities);
    rest.push_back(labels.rest);
  };
  int64_t rows = 0;
  for (const size_t s : batch.sequences) {
    add(LabelsOfOne(targets[s], towards));
    rows += rest.back().size(0);
  }
  if (const int64_t added = batch.targets.size(0) - rows; added > 0) {
    add(Nothing(added, {ids.front(), probabilities.front(), rest.front()}));
  }
  return {at::cat(ids), at::cat(probabilities), at::cat(rest)};
}

}  // namespace lethe
