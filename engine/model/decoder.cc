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
#include "engine/model/linear.h"
#include "engine/model/recomputed.h"
#include "engine/model/rope.h"
#include "engine/model/stored_layout.h"
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
  const at::Tensor y = ProjectByWeight(x, slots, weight, bias);
  return adapter_.has_value() ? adapter_->Apply(slots[weight], x, y) : y;
}

at::Tensor Decoder::ProjectByWeight(const at::Tensor& x, const Slots& slots, Slot weight,
                                    std::optional<Slot> bias) const {
  const at::Tensor master = leaves_[slots[weight]];
  const at::Tensor added = bias ? Weight(slots, *bias, x) : at::Tensor();
  if (x.scalar_type() == at::kDouble) return at::linear(x, Weight(slots, weight, x), added);
  at::Tensor used;  // where that is not the weight itself
  if (rounded_ != nullptr) {
    used = rounded_->Of(slots[weight], master);
  } else if (master.scalar_type() != at::kFloat) {
    used = master.detach().to(at::kFloat);
  }
  return Linear(x.to(Between()), master, added, used);
}

// A norm behind a part makes the stream, which is fp32; one before a part makes what its product
// reads.
at::Tensor Decoder::Normed(const at::Tensor& x, const Slots& slots, Slot weight, Slot bias) const {
  const bool is_stream = config_.norm_after || x.scalar_type() == at::kDouble;
  const at::ScalarType type = is_stream ? x.scalar_type() : Between();
  const at::Tensor scale = Weight(slots, weight, x);
  if (config_.norm == Norm::kRms) return RmsNorm(x, scale, config_.norm_eps, type);
  return LayerNorm(x, scale, Weight(slots, bias, x), config_.norm_eps, type);
}

// Each step takes over the tensor before it, so that without gradients few stand in memory.
at::Tensor Decoder::AttentionPart(int64_t layer, at::Tensor h, const Attend& attend) const {
  const auto weight = [&](Slot slot) { return Weight(layers_[layer], slot, h); };
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
    return AddTo(x, MlpPart(layer, mlp_norm(x)).add_(attended));
  }
  if (config_.norm_after) {
    x = attention_norm(AddTo(x, AttentionPart(layer, x, attend)));
    return mlp_norm(AddTo(x, MlpPart(layer, x)));
  }
  x = AddTo(x, AttentionPart(layer, attention_norm(x), attend));
  return AddTo(x, MlpPart(layer, mlp_norm(x)));
}

at::Tensor Decoder::Run(const at::Tensor& ids, const at::Tensor& positions,
                        const Attend& attend) const {
  return RunLayers(Embed(ids, positions, at::kFloat), attend);
}

// x (N,D): the stream that every layer adds to.
at::Tensor Decoder::RunLayers(at::Tensor x, const Attend& attend) const {
  for (int64_t i = 0; i < config_.num_layers; ++i) x = RunLayer(i, std::move(x), attend);
  return Ended(x);
}

at::Tensor Decoder::Ended(at::Tensor x) const {
  if (config_.final_norm) x = Normed(x, ends_, Slot::kFinalNorm, Slot::kFinalNormBias);
  return ends_[Slot::kProjectOut] >= 0 ? Project(x, ends_, Slot::kProjectOut) : x;
}

at::Tensor Decoder::Hidden(const at::Tensor& ids) const {
  const int64_t batch = ids.size(0), tokens = ids.size(1);
  const at::Tensor positions = at::arange(tokens, ids.options()).repeat({batch});
  if (recomputes_ && at::GradMode::is_enabled()) return HiddenRecomputed(ids, positions);
  return Run(ids.reshape({-1}), positions, [&](int64_t layer, at::Tensor qkv) {
    return RotateAndAttend(std::move(qkv), rope_cos_, rope_sin_, Shape(layer), batch);
  });
}

void Decoder::VisitLayers(const at::Tensor& ids, const LayerVisitor& visit) const {
  at::NoGradGuard no_grad;
  const int64_t batch = ids.size(0);
  const at::Tensor positions = at::arange(ids.size(1), ids.options()).repeat({batch});
  const Attend attend = [&](int64_t layer, at::Tensor qkv) {
    return RotateAndAttend(std::move(qkv), rope_cos_, rope_sin_, Shape(layer), batch);
  };
  at::Tensor x = Embed(ids.reshape({-1}), positions, at::kFloat);  // (N,D)
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    x = RunLayer(i, std::move(x), attend);
    visit(i, Ended(x));
  }
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

at::Tensor Decoder::HiddenRecomputed(const at::Tensor& ids, const at::Tensor& positions) const {
  const int64_t batch = ids.size(0);
  // The graph outlives this call, and maybe this decoder.
  const auto self = std::make_shared<const Decoder>(*this);
  const Attend attend = [self, batch](int64_t layer, at::Tensor qkv) {
    return RotateAndAttend(std::move(qkv), self->rope_cos_, self->rope_sin_, self->Shape(layer),
                           batch);
  };
  at::Tensor x = Embed(ids.reshape({-1}), positions, at::kFloat);  // (N,D)
  // With an adapter the embedding learns nothing, and what asks for no gradient would give none.
  if (!x.requires_grad()) x.requires_grad_(true);
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    x = Recomputed(
        x, [self, i, attend](at::Tensor y) { return self->RunLayer(i, std::move(y), attend); });
  }
  return Ended(x);
}

void Decoder::HoldInBf16() {
  at::NoGradGuard no_grad;
  for (at::Tensor& leaf : leaves_) {
    if (leaf.dim() == 2)
      leaf = leaf.detach().to(at::kBFloat16).requires_grad_(leaf.requires_grad());
  }
}

Decoder Decoder::Recomputing() const {
  Decoder other = *this;
  other.recomputes_ = true;
  return other;
}

Decoder Decoder::In(Precision precision) const {
  Decoder other = *this;
  other.precision_ = precision;
  other.rounded_ =
      precision == Precision::kFp32 ? nullptr : std::make_shared<RoundedLeaves>(leaves_.size());
  return other;
}

Decoder ForTraining(Decoder& model, Precision precision, bool recompute) {
  if (precision == Precision::kBf16Pure) model.HoldInBf16();
  const Decoder training = model.In(precision);
  return recompute ? training.Recomputing() : training;
}

at::Tensor Decoder::Logits(const at::Tensor& hidden) const {
  const at::Tensor& weight = OutputWeight();
  const at::ScalarType type = hidden.scalar_type();
  if (type != at::kFloat) return at::linear(hidden, weight.to(type));
  return Linear(hidden, weight.to(type));
}

const at::Tensor& Decoder::OutputWeight() const { return leaves_[ends_[Slot::kOutput]]; }

at::Tensor Decoder::RoundedOutputWeight() const {
  return rounded_ ? rounded_->Of(ends_[Slot::kOutput], OutputWeight()) : at::Tensor();
}

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

std::vector<LoraTarget> Decoder::LoraTargets() const {
  // PEFT names modules as they stand in the whole model, whatever the file's names leave out.
  DecoderConfig whole = config_;
  whole.bare_names = false;
  std::map<std::string, std::string> module_of;
  const std::vector<TensorRule> names = DecoderTensors(config_), modules = DecoderTensors(whole);
  for (size_t i = 0; i < names.size(); ++i) module_of[names[i].name] = modules[i].name;
  std::vector<LoraTarget> targets;
  for (size_t leaf = 0; leaf < plan_.size(); ++leaf) {
    const Slot slot = plan_[leaf].slot;
    if (slot != Slot::kQkv && slot != Slot::kAttnOut && slot != Slot::kUp && slot != Slot::kDown) {
      continue;
    }
    for (const Part& part : plan_[leaf].parts) {
      std::string module = module_of[part.name];
      module.resize(module.size() - std::string_view(".weight").size());
      targets.push_back({.module = std::move(module),
                         .leaf = static_cast<int>(leaf),
                         .row = part.row,
                         .rows = part.rows,
                         .inputs = plan_[leaf].shape[1],
                         .stored = part.stored});
    }
  }
  return targets;
}

void Decoder::Attach(LoraAdapter adapter) {
  for (at::Tensor& leaf : leaves_) leaf.requires_grad_(false);
  adapter_ = std::move(adapter);
}

void Decoder::Merge() {
  if (!adapter_.has_value()) return;
  adapter_->MergeInto(leaves_);
  adapter_.reset();
  for (at::Tensor& leaf : leaves_) leaf.requires_grad_(true);
}

int64_t Decoder::ParameterCount() const {
  int64_t count = 0;
  for (const at::Tensor& leaf : leaves_) count += leaf.numel();
  return count;
}

Decoder Decoder::Clone() const {
  Decoder copy = *this;
  for (at::Tensor& leaf : copy.leaves_) {
    leaf = leaf.detach().clone().requires_grad_(!adapter_.has_value());
  }
  if (adapter_.has_value()) copy.adapter_ = adapter_->Clone();
  return copy;
}

}  // namespace lethe
