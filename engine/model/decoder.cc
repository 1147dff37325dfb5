#include "engine/model/decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include "engine/model/fused_ops.h"
#include "engine/model/rope.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

absl::Status BadCheckpoint(std::string_view message, const std::string& tensor) {
  return Error(absl::StatusCode::kInvalidArgument, "BAD_CHECKPOINT", message, {{"tensor", tensor}});
}

// Standard normal numbers that are the same on every machine: std::normal_distribution is not.
class Normal {
 public:
  explicit Normal(uint64_t seed) : bits_(seed) {}
  float Next() {
    if (have_spare_) {
      have_spare_ = false;
      return spare_;
    }
    // Box-Muller; 53 bits each, the first never 0.
    const double u = (static_cast<double>(bits_() >> 11) + 1) * 0x1p-53;
    const double v = static_cast<double>(bits_() >> 11) * 0x1p-53;
    const double radius = std::sqrt(-2 * std::log(u)), angle = 6.283185307179586 * v;
    spare_ = static_cast<float>(radius * std::sin(angle));
    have_spare_ = true;
    return static_cast<float>(radius * std::cos(angle));
  }

 private:
  std::mt19937_64 bits_;
  float spare_ = 0;
  bool have_spare_ = false;
};

at::Tensor Activate(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::kSwiGlu:
      return SwiGlu(x);
    case Activation::kGeluTanh:
      return GeluTanh(x);
    case Activation::kGelu:
      return at::gelu(x);
    case Activation::kRelu:
      return at::relu(x);
  }
  return x;
}

bool IsNormWeight(Slot slot) {
  return slot == Slot::kAttnNorm || slot == Slot::kMlpNorm || slot == Slot::kFinalNorm ||
         slot == Slot::kQueryNorm || slot == Slot::kKeyNorm;
}

bool IsBias(Slot slot) {
  return slot == Slot::kAttnNormBias || slot == Slot::kMlpNormBias ||
         slot == Slot::kFinalNormBias || slot == Slot::kQkvBias || slot == Slot::kAttnOutBias ||
         slot == Slot::kUpBias || slot == Slot::kDownBias;
}

// A leaf's rows as the checkpoint has them, and back. Rows that lie by heads, (H,3,...), are
// (3,H,...) in the leaf.
at::Tensor AsStored(const at::Tensor& rows, Stored stored, int64_t heads) {
  if (stored == Stored::kTransposed) return rows.t();
  if (stored == Stored::kAsIs) return rows;
  return rows.reshape({3, heads, -1}).transpose(0, 1).reshape(rows.sizes());
}
at::Tensor FromStored(const at::Tensor& tensor, Stored stored, int64_t heads) {
  if (stored == Stored::kTransposed) return tensor.t();
  if (stored == Stored::kAsIs) return tensor;
  return tensor.reshape({heads, 3, -1}).transpose(0, 1).reshape(tensor.sizes());
}

}  // namespace

Decoder::Decoder(const DecoderConfig& config, at::Device device)
    : config_(config), device_(device) {
  PlanLeaves();
  MakeRopeTables();
}

// One leaf a slot, in the order of the table; a slot's tensors go below each other.
void Decoder::PlanLeaves() {
  Slots none;
  none.leaf.fill(-1);
  ends_ = none;
  layers_.assign(config_.num_layers, none);
  for (TensorRule& rule : DecoderTensors(config_)) {
    int& index = (rule.layer < 0 ? ends_ : layers_[rule.layer])[rule.slot];
    if (rule.stored == Stored::kTransposed) std::reverse(rule.shape.begin(), rule.shape.end());
    if (index < 0) {
      index = static_cast<int>(plan_.size());
      plan_.push_back({.slot = rule.slot, .shape = rule.shape, .parts = {}});
      plan_.back().shape[0] = 0;
    }
    Leaf& leaf = plan_[index];
    leaf.parts.push_back({.name = std::move(rule.name),
                          .row = leaf.shape[0],
                          .rows = rule.shape[0],
                          .stored = rule.stored});
    leaf.shape[0] += rule.shape[0];
  }
  if (config_.tied_embeddings) ends_[Slot::kOutput] = ends_[Slot::kTokens];
}

// Angles in fp32 whatever the weights' type, as transformers does: a table rounded to bf16 moves
// logits by 0.02.
void Decoder::MakeRopeTables() {
  at::NoGradGuard no_grad;
  std::vector<float> inverse = InverseFrequencies(config_);
  const at::Tensor frequencies =
      at::from_blob(inverse.data(), {static_cast<int64_t>(inverse.size())}, at::kFloat);
  const at::Tensor angles = at::outer(at::arange(config_.context, at::kFloat), frequencies);
  rope_cos_ = angles.cos().mul_(config_.rope.attention_factor).to(device_);
  rope_sin_ = angles.sin().mul_(config_.rope.attention_factor).to(device_);
}

absl::StatusOr<Decoder> Decoder::Build(
    const DecoderConfig& config, const Device& device,
    const std::function<absl::StatusOr<at::Tensor>(const std::string&)>& read) {
  return CatchTorch("loading the weights", [&]() -> absl::StatusOr<Decoder> {
    at::NoGradGuard no_grad;
    Decoder model(config, at::Device(device.name));
    for (const Leaf& leaf : model.plan_) {
      at::Tensor whole = at::empty(leaf.shape, at::TensorOptions(at::kFloat).device(model.device_));
      for (const Part& part : leaf.parts) {
        LETHE_ASSIGN_OR_RETURN(const at::Tensor tensor, read(part.name));
        const at::Tensor rows = whole.narrow(0, part.row, part.rows);
        const at::Tensor wanted = AsStored(rows, part.stored, config.num_heads);
        if (tensor.sizes() != wanted.sizes()) {
          return BadCheckpoint("a tensor's shape is not the one that config.json gives it",
                               part.name);
        }
        rows.copy_(FromStored(tensor, part.stored, config.num_heads));
      }
      model.leaves_.push_back(whole.requires_grad_(true));
    }
    return model;
  });
}

absl::StatusOr<Decoder> Decoder::FromTensors(const DecoderConfig& config,
                                             const std::map<std::string, at::Tensor>& tensors,
                                             const Device& device) {
  return Build(config, device, [&](const std::string& name) -> absl::StatusOr<at::Tensor> {
    const auto found = tensors.find(name);
    if (found == tensors.end()) return BadCheckpoint("a tensor is missing", name);
    return found->second;
  });
}

absl::StatusOr<Decoder> Decoder::Init(const DecoderConfig& config, uint64_t seed,
                                      const Device& device) {
  return CatchTorch("making the weights", [&]() -> absl::StatusOr<Decoder> {
    at::NoGradGuard no_grad;
    Decoder model(config, at::Device(device.name));
    Normal normal(seed);
    const auto deviation = static_cast<float>(config.initializer_range);
    for (const Leaf& leaf : model.plan_) {
      at::Tensor whole = at::zeros(leaf.shape, at::kFloat);
      if (IsNormWeight(leaf.slot)) {
        whole.fill_(1.0);
      } else if (!IsBias(leaf.slot)) {
        float* data = whole.data_ptr<float>();
        for (int64_t i = 0; i < whole.numel(); ++i) data[i] = deviation * normal.Next();
      }
      model.leaves_.push_back(whole.to(model.device_).requires_grad_(true));
    }
    return model;
  });
}

at::Tensor Decoder::Embed(const at::Tensor& ids, const at::Tensor& positions,
                          at::ScalarType type) const {
  const auto rows = [&](Slot table, const at::Tensor& of, int64_t padding_row) {
    return at::embedding(leaves_[ends_[table]], of, padding_row).to(type);
  };
  at::Tensor x = rows(Slot::kTokens, ids, config_.padding_row.value_or(-1));  // (N,E)
  if (ends_[Slot::kProjectIn] >= 0) x = Project(x, ends_, Slot::kProjectIn);
  if (ends_[Slot::kPositions] < 0) return x;
  return x + rows(Slot::kPositions, positions + config_.position_offset, -1);
}

at::Tensor Decoder::Project(const at::Tensor& x, const Slots& slots, Slot weight,
                            std::optional<Slot> bias) const {
  const at::ScalarType type = x.scalar_type();
  return Linear(x, Weight(slots, weight, type), bias ? Weight(slots, *bias, type) : at::Tensor());
}

at::Tensor Decoder::Normed(const at::Tensor& x, const Slots& slots, Slot weight, Slot bias) const {
  const at::ScalarType type = x.scalar_type();
  if (config_.norm == Norm::kRms) return RmsNorm(x, Weight(slots, weight, type), config_.norm_eps);
  return LayerNorm(x, Weight(slots, weight, type), Weight(slots, bias, type), config_.norm_eps);
}

// Each step takes over the tensor before it, so that without gradients few stand in memory.
at::Tensor Decoder::AttentionPart(int64_t layer, at::Tensor h, const Attend& attend) const {
  const auto weight = [&](Slot slot) { return Weight(layers_[layer], slot, h.scalar_type()); };
  h = Project(h, layers_[layer], Slot::kQkv, Slot::kQkvBias);  // (N,(H+2K)h)
  if (config_.head_norms) {
    h = NormHeads(h, weight(Slot::kQueryNorm), weight(Slot::kKeyNorm), config_.norm_eps,
                  Shape(layer));
  }
  h = attend(layer, std::move(h));  // (N,H*h)
  return Project(h, layers_[layer], Slot::kAttnOut, Slot::kAttnOutBias);
}

at::Tensor Decoder::MlpPart(int64_t layer, at::Tensor h) const {
  const Slots& slots = layers_[layer];
  h = Project(h, slots, Slot::kUp, Slot::kUpBias);  // (N,F), or (N,2F) with a gate
  h = Activate(h, config_.activation);              // (N,F)
  return Project(h, slots, Slot::kDown, Slot::kDownBias);
}

at::Tensor Decoder::RunLayer(int64_t layer, at::Tensor x, const Attend& attend) const {
  const auto attention_norm = [&](const at::Tensor& y) {
    return Normed(y, layers_[layer], Slot::kAttnNorm, Slot::kAttnNormBias);
  };
  const auto mlp_norm = [&](const at::Tensor& y) {
    return Normed(y, layers_[layer], Slot::kMlpNorm, Slot::kMlpNormBias);
  };
  if (config_.parallel_parts) {
    const at::Tensor attended = AttentionPart(layer, attention_norm(x), attend);
    return MlpPart(layer, mlp_norm(x)).add_(attended).add_(x);
  }
  if (config_.norm_after) {
    x = attention_norm(AttentionPart(layer, x, attend).add_(x));
    return mlp_norm(MlpPart(layer, x).add_(x));
  }
  x = AttentionPart(layer, attention_norm(x), attend).add_(x);
  return MlpPart(layer, mlp_norm(x)).add_(x);
}

at::Tensor Decoder::Run(const at::Tensor& ids, const at::Tensor& positions,
                        const Attend& attend) const {
  return RunLayers(Embed(ids, positions, at::kFloat), attend);
}

// x (N,D): the stream that every layer adds to.
at::Tensor Decoder::RunLayers(at::Tensor x, const Attend& attend) const {
  for (int64_t i = 0; i < config_.num_layers; ++i) x = RunLayer(i, std::move(x), attend);
  if (config_.final_norm) x = Normed(x, ends_, Slot::kFinalNorm, Slot::kFinalNormBias);
  return ends_[Slot::kProjectOut] >= 0 ? Project(x, ends_, Slot::kProjectOut) : x;
}

at::Tensor Decoder::Hidden(const at::Tensor& ids) const {
  const int64_t batch = ids.size(0), tokens = ids.size(1);
  const at::Tensor positions = at::arange(tokens, ids.options()).repeat({batch});
  return Run(ids.reshape({-1}), positions, [&](int64_t layer, at::Tensor qkv) {
    return RotateAndAttend(std::move(qkv), rope_cos_, rope_sin_, Shape(layer), batch);
  });
}

at::Tensor Decoder::HiddenInDouble(const at::Tensor& ids) const {
  at::NoGradGuard no_grad;
  const int64_t batch = ids.size(0);
  const at::Tensor positions = at::arange(ids.size(1), ids.options()).repeat({batch});
  return RunLayers(
      Embed(ids.reshape({-1}), positions, at::kDouble), [&](int64_t layer, at::Tensor qkv) {
        return RotateAndAttend(std::move(qkv), rope_cos_, rope_sin_, Shape(layer), batch);
      });
}

at::Tensor Decoder::Logits(const at::Tensor& hidden) const {
  return Linear(hidden, OutputWeight(), {});
}

const at::Tensor& Decoder::OutputWeight() const { return leaves_[ends_[Slot::kOutput]]; }

AttentionShape Decoder::Shape(int64_t layer) const {
  return {.heads = config_.num_heads,
          .kv_heads = config_.num_kv_heads,
          .head_dim = config_.head_dim,
          .scale = config_.ScoreScale(layer),
          .window = config_.Window(layer)};
}

at::Tensor Decoder::InFile(const at::Tensor& leaf, const Part& part) const {
  return AsStored(leaf.detach().narrow(0, part.row, part.rows), part.stored, config_.num_heads);
}

std::vector<NamedTensor> Decoder::NamedParts(const std::vector<at::Tensor>& leaves) const {
  std::vector<NamedTensor> named;
  for (size_t i = 0; i < plan_.size(); ++i) {
    if (!leaves[i].defined()) continue;
    for (const Part& part : plan_[i].parts) named.push_back({part.name, InFile(leaves[i], part)});
  }
  return named;
}

std::vector<NamedTensor> Decoder::Named() const { return NamedParts(leaves_); }

at::Tensor Decoder::Named(const std::string& name) const {
  for (size_t i = 0; i < plan_.size(); ++i) {
    for (const Part& part : plan_[i].parts) {
      if (part.name == name) return InFile(leaves_[i], part);
    }
  }
  return {};
}

std::vector<NamedTensor> Decoder::NamedGradients() const {
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& leaf : leaves_) gradients.push_back(leaf.grad());
  return NamedParts(gradients);
}

void Decoder::ZeroGradients() const {
  for (const at::Tensor& leaf : leaves_) leaf.mutable_grad().reset();
}

int64_t Decoder::ParameterCount() const {
  int64_t count = 0;
  for (const at::Tensor& leaf : leaves_) count += leaf.numel();
  return count;
}

Decoder Decoder::Clone() const {
  Decoder copy = *this;
  copy.leaves_ = Snapshot();
  for (at::Tensor& leaf : copy.leaves_) leaf.requires_grad_(true);
  return copy;
}

std::vector<at::Tensor> Decoder::Snapshot() const {
  std::vector<at::Tensor> values;
  for (const at::Tensor& leaf : leaves_) values.push_back(leaf.detach().clone());
  return values;
}

void Decoder::Restore(const std::vector<at::Tensor>& snapshot) const {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < leaves_.size(); ++i) leaves_[i].detach().copy_(snapshot.at(i));
}

absl::Status Decoder::CheckIds(std::span<const int32_t> ids, int64_t at_least) const {
  const auto count = static_cast<int64_t>(ids.size());
  if (count < at_least) {
    return Error(absl::StatusCode::kInvalidArgument, "SEQUENCE_TOO_SHORT",
                 "a sequence has too few tokens",
                 {{"tokens", std::to_string(count)}, {"least", std::to_string(at_least)}});
  }
  if (count > config_.context) {
    return Error(absl::StatusCode::kInvalidArgument, "SEQUENCE_TOO_LONG",
                 "a sequence is longer than the model's context",
                 {{"tokens", std::to_string(count)}, {"context", std::to_string(config_.context)}});
  }
  for (const int32_t id : ids) {
    if (id < 0 || id >= config_.vocab_size) {
      return Error(absl::StatusCode::kInvalidArgument, "TOKEN_OUT_OF_RANGE",
                   "a token id is outside the model's vocabulary",
                   {{"vocab_size", std::to_string(config_.vocab_size)}});
    }
  }
  return absl::OkStatus();
}

}  // namespace lethe
