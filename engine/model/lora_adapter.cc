#include "engine/model/lora_adapter.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>
#include <utility>

#include "engine/model/decoder.h"
#include "engine/model/stored_layout.h"

namespace lethe {
namespace {

constexpr std::string_view kPrefix = "base_model.model.";

std::string NameOf(const LoraTarget& target, char which) {
  return std::string(kPrefix) + target.module + ".lora_" + which + ".weight";
}

// B has an output's row where the weight has one, so only the order of rows can differ.
Stored RowsOf(Stored stored) {
  return stored == Stored::kHeadwise ? Stored::kHeadwise : Stored::kAsIs;
}

absl::Status Misfit(const std::string& tensor, std::string_view what) {
  return Error(absl::StatusCode::kInvalidArgument, "ADAPTER_MISFIT",
               "the adapter does not fit the model: " + tensor + " " + std::string(what),
               {{"tensor", tensor}});
}

// The last name of a module, as target_modules has it: "q_proj".
std::string LastName(const std::string& module) { return module.substr(module.rfind('.') + 1); }

// Uniform in (-bound, bound); the same on every machine.
at::Tensor Uniform(int64_t rows, int64_t columns, double bound, std::mt19937_64& bits) {
  at::Tensor values = at::empty({rows, columns}, at::kFloat);
  float* data = values.data_ptr<float>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    data[i] = static_cast<float>(bound * (2 * (static_cast<double>(bits() >> 11) * 0x1p-53) - 1));
  }
  return values;
}

}  // namespace

LoraAdapter::LoraAdapter(LoraConfig lora, const Decoder& model)
    : lora_(std::move(lora)), heads_(model.config().num_heads), device_(model.device()) {}

void LoraAdapter::Add(LoraTarget target, const at::Tensor& a, const at::Tensor& b) {
  if (of_leaf_.size() <= static_cast<size_t>(target.leaf)) of_leaf_.resize(target.leaf + 1);
  const auto next = static_cast<int>(leaves_.size());
  for (const at::Tensor& tensor : {a, b}) {
    leaves_.push_back(tensor.to(device_, at::kFloat, /*non_blocking=*/false, /*copy=*/true)
                          .contiguous()
                          .requires_grad_(true));
  }
  of_leaf_[target.leaf].push_back({std::move(target), next, next + 1});
}

absl::StatusOr<LoraAdapter> LoraAdapter::Fresh(LoraConfig lora, const Decoder& model,
                                               uint64_t seed) {
  LETHE_RETURN_IF_ERROR(CheckLora(lora));
  at::NoGradGuard no_grad;
  std::mt19937_64 bits(seed);
  LoraAdapter adapter(std::move(lora), model);
  std::set<std::string> used;
  for (LoraTarget& target : model.LoraTargets()) {
    if (!adapter.lora_.Targets(target.module)) continue;
    used.insert(LastName(target.module));
    const int64_t rank = adapter.lora_.rank;
    const double bound = 1 / std::sqrt(static_cast<double>(target.inputs));
    const at::Tensor a = Uniform(rank, target.inputs, bound, bits);
    const at::Tensor b = at::zeros({target.rows, rank}, at::kFloat);
    adapter.Add(std::move(target), a, b);
  }
  if (used.empty()) {
    return Error(absl::StatusCode::kInvalidArgument, "BAD_PARAMETER",
                 "no matrix of the model has the name of an adapter's target; leave the targets "
                 "out to take all of them");
  }
  if (adapter.lora_.targets.empty()) adapter.lora_.targets.assign(used.begin(), used.end());
  return adapter;
}

absl::StatusOr<LoraAdapter> LoraAdapter::FromTensors(
    LoraConfig lora, const Decoder& model, const std::map<std::string, at::Tensor>& tensors) {
  LETHE_RETURN_IF_ERROR(CheckLora(lora));
  at::NoGradGuard no_grad;
  LoraAdapter adapter(std::move(lora), model);
  size_t taken = 0;
  for (LoraTarget& target : model.LoraTargets()) {
    const std::string a_name = NameOf(target, 'A'), b_name = NameOf(target, 'B');
    const auto a = tensors.find(a_name), b = tensors.find(b_name);
    if (a == tensors.end() && b == tensors.end()) continue;
    if (a == tensors.end()) return Misfit(a_name, "is missing");
    if (b == tensors.end()) return Misfit(b_name, "is missing");
    if (a->second.sizes() != at::IntArrayRef({adapter.lora_.rank, target.inputs})) {
      return Misfit(a_name, "has another shape than (r, inputs)");
    }
    if (b->second.sizes() != at::IntArrayRef({target.rows, adapter.lora_.rank})) {
      return Misfit(b_name, "has another shape than (outputs, r)");
    }
    const Stored rows = RowsOf(target.stored);
    adapter.Add(std::move(target), a->second, FromStored(b->second, rows, adapter.heads_));
    taken += 2;
  }
  if (taken == tensors.size() && taken > 0) return adapter;
  const std::map<std::string, at::Tensor> known = adapter.Named();
  for (const auto& [name, tensor] : tensors) {
    if (!known.contains(name)) return Misfit(name, "belongs to no matrix of attention or MLP");
  }
  return Misfit("adapter_model.safetensors", "holds no tensor");
}

std::map<std::string, at::Tensor> LoraAdapter::Named() const {
  std::map<std::string, at::Tensor> named;
  for (const std::vector<Part>& parts : of_leaf_) {
    for (const Part& part : parts) {
      named[NameOf(part.target, 'A')] = leaves_[part.a].detach();
      named[NameOf(part.target, 'B')] =
          AsStored(leaves_[part.b].detach(), RowsOf(part.target.stored), heads_);
    }
  }
  return named;
}

at::Tensor LoraAdapter::Apply(int leaf, const at::Tensor& x, const at::Tensor& y) const {
  if (static_cast<size_t>(leaf) >= of_leaf_.size() || of_leaf_[leaf].empty()) return y;
  const std::vector<Part>& parts = of_leaf_[leaf];
  const at::ScalarType type = y.scalar_type();  // a pass may run in another precision
  const at::Tensor read = x.to(type);
  const auto low = [&](const Part& part) { return at::mm(read, leaves_[part.a].to(type).t()); };
  const auto b = [&](const Part& part) { return leaves_[part.b].to(type).t(); };
  const int64_t outputs = y.size(1);
  if (parts.size() == 1 && parts[0].target.rows == outputs) {
    return at::addmm(y, low(parts[0]), b(parts[0]), 1, lora_.Scale());
  }
  // Side by side, with nothing where a part of the leaf has no adapter.
  std::vector<at::Tensor> beside;
  int64_t column = 0;
  const auto skip_to = [&](int64_t next) {
    if (next > column) beside.push_back(at::zeros({x.size(0), next - column}, y.options()));
  };
  for (const Part& part : parts) {
    skip_to(part.target.row);
    beside.push_back(at::mm(low(part), b(part)));
    column = part.target.row + part.target.rows;
  }
  skip_to(outputs);
  return at::add(y, at::cat(beside, 1), lora_.Scale());
}

void LoraAdapter::MergeInto(const std::vector<at::Tensor>& weights) const {
  at::NoGradGuard no_grad;
  for (size_t leaf = 0; leaf < of_leaf_.size(); ++leaf) {
    for (const Part& part : of_leaf_[leaf]) {
      at::Tensor rows = weights[leaf].detach().narrow(0, part.target.row, part.target.rows);
      rows.addmm_(leaves_[part.b], leaves_[part.a], 1, lora_.Scale());
    }
  }
}

LoraAdapter LoraAdapter::Clone() const {
  LoraAdapter copy = *this;
  for (at::Tensor& leaf : copy.leaves_) leaf = leaf.detach().clone().requires_grad_(true);
  return copy;
}

}  // namespace lethe
