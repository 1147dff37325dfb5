#include "engine/model/decoder.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <random>

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

}  // namespace

Decoder::Decoder(const DecoderConfig& config, at::Device device)
    : config_(config), device_(device) {
  PlanLeaves();
  MakeRopeTables();
}

int Decoder::AddLeaf(Leaf leaf) {
  plan_.push_back(std::move(leaf));
  return static_cast<int>(plan_.size()) - 1;
}

// The one place that knows the tensors' names and shapes.
void Decoder::PlanLeaves() {
  const DecoderConfig& c = config_;
  const int64_t D = c.hidden_size, F = c.intermediate_size;
  const int64_t q = c.num_heads * c.head_dim, kv = c.num_kv_heads * c.head_dim;
  const auto vector = [&](const std::string& name, bool is_norm) {
    return AddLeaf({.shape = {D}, .parts = {{name, D}}, .is_norm = is_norm, .is_bias = !is_norm});
  };
  embedding_ =
      AddLeaf({.shape = {c.vocab_size, D}, .parts = {{"model.embed_tokens.weight", c.vocab_size}}});
  for (int64_t i = 0; i < c.num_layers; ++i) {
    const std::string at = "model.layers." + std::to_string(i) + ".";
    const std::string attn = at + "self_attn.", mlp = at + "mlp.";
    Layer layer{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    layer.attn_norm = vector(at + "input_layernorm.weight", true);
    layer.qkv = AddLeaf({.shape = {q + 2 * kv, D},
                         .parts = {{attn + "q_proj.weight", q},
                                   {attn + "k_proj.weight", kv},
                                   {attn + "v_proj.weight", kv}}});
    if (c.qkv_bias) {
      layer.qkv_bias = AddLeaf({.shape = {q + 2 * kv},
                                .parts = {{attn + "q_proj.bias", q},
                                          {attn + "k_proj.bias", kv},
                                          {attn + "v_proj.bias", kv}},
                                .is_bias = true});
    }
    layer.out = AddLeaf({.shape = {D, q}, .parts = {{attn + "o_proj.weight", D}}});
    if (c.out_bias) layer.out_bias = vector(attn + "o_proj.bias", false);
    layer.mlp_norm = vector(at + "post_attention_layernorm.weight", true);
    layer.gate_up =
        AddLeaf({.shape = {2 * F, D},
                 .parts = {{mlp + "gate_proj.weight", F}, {mlp + "up_proj.weight", F}}});
    if (c.mlp_bias) {
      layer.gate_up_bias =
          AddLeaf({.shape = {2 * F},
                   .parts = {{mlp + "gate_proj.bias", F}, {mlp + "up_proj.bias", F}},
                   .is_bias = true});
    }
    layer.down = AddLeaf({.shape = {D, F}, .parts = {{mlp + "down_proj.weight", D}}});
    if (c.mlp_bias) layer.down_bias = vector(mlp + "down_proj.bias", false);
    layers_.push_back(layer);
  }
  final_norm_ = vector("model.norm.weight", true);
  output_ =
      c.tied_embeddings
          ? embedding_
          : AddLeaf({.shape = {c.vocab_size, D}, .parts = {{"lm_head.weight", c.vocab_size}}});
}

// Angles in fp32 whatever the weights' type, as transformers does: a table rounded to bf16 moves
// logits by 0.02.
void Decoder::MakeRopeTables() {
  at::NoGradGuard no_grad;
  std::vector<float> inverse = InverseFrequencies(config_);
  const at::Tensor frequencies =
      at::from_blob(inverse.data(), {static_cast<int64_t>(inverse.size())}, at::kFloat);
  const at::Tensor angles = at::outer(at::arange(config_.context, at::kFloat), frequencies);
  rope_cos_ = angles.cos().to(device_);
  rope_sin_ = angles.sin().to(device_);
}

absl::StatusOr<Decoder> Decoder::Build(
    const DecoderConfig& config, const Device& device,
    const std::function<absl::StatusOr<at::Tensor>(const std::string&)>& read) {
  return CatchTorch("loading the weights", [&]() -> absl::StatusOr<Decoder> {
    at::NoGradGuard no_grad;
    Decoder model(config, at::Device(device.name));
    for (const Leaf& leaf : model.plan_) {
      at::Tensor whole = at::empty(leaf.shape, at::TensorOptions(at::kFloat).device(model.device_));
      int64_t row = 0;
      for (const Part& part : leaf.parts) {
        LETHE_ASSIGN_OR_RETURN(const at::Tensor tensor, read(part.name));
        std::vector<int64_t> want = leaf.shape;
        want[0] = part.rows;
        if (tensor.sizes() != at::IntArrayRef(want)) {
          return BadCheckpoint("a tensor's shape is not the one that config.json gives it",
                               part.name);
        }
        whole.narrow(0, row, part.rows).copy_(tensor);
        row += part.rows;
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
      if (leaf.is_norm) {
        whole.fill_(1.0);
      } else if (!leaf.is_bias) {
        float* data = whole.data_ptr<float>();
        for (int64_t i = 0; i < whole.numel(); ++i) data[i] = deviation * normal.Next();
      }
      model.leaves_.push_back(whole.to(model.device_).requires_grad_(true));
    }
    return model;
  });
}

at::Tensor Decoder::Run(const at::Tensor& ids, const Attend& attend) const {
  // (N,D): the stream that every layer adds to
  at::Tensor x = at::embedding(Weight(embedding_), ids);
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& w = layers_[i];
    at::Tensor h = RmsNorm(x, Weight(w.attn_norm), config_.rms_norm_eps);  // (N,D)
    at::Tensor qkv = at::linear(h, Weight(w.qkv), Weight(w.qkv_bias));     // (N,(H+2K)h)
    h = attend(static_cast<int64_t>(i), std::move(qkv));                   // (N,H*h)
    x = at::linear(h, Weight(w.out), Weight(w.out_bias)).add_(x);          // (N,D)
    h = RmsNorm(x, Weight(w.mlp_norm), config_.rms_norm_eps);              // (N,D)
    h = SwiGlu(at::linear(h, Weight(w.gate_up), Weight(w.gate_up_bias)));  // (N,F)
    x = at::linear(h, Weight(w.down), Weight(w.down_bias)).add_(x);        // (N,D)
  }
  return RmsNorm(x, Weight(final_norm_), config_.rms_norm_eps);
}

at::Tensor Decoder::Hidden(const at::Tensor& ids) const {
  const int64_t batch = ids.size(0);
  const AttentionShape shape = Shape();
  return Run(ids.reshape({-1}), [&](int64_t, at::Tensor qkv) {
    return RotateAndAttend(std::move(qkv), rope_cos_, rope_sin_, shape, batch);
  });
}

at::Tensor Decoder::Logits(const at::Tensor& hidden) const {
  return at::linear(hidden, OutputWeight());
}

const at::Tensor& Decoder::OutputWeight() const { return leaves_[output_]; }

AttentionShape Decoder::Shape() const {
  return {config_.num_heads, config_.num_kv_heads, config_.head_dim};
}

std::vector<NamedTensor> Decoder::Named() const {
  std::vector<NamedTensor> named;
  for (size_t i = 0; i < plan_.size(); ++i) {
    int64_t row = 0;
    for (const Part& part : plan_[i].parts) {
      named.push_back({part.name, leaves_[i].detach().narrow(0, row, part.rows)});
      row += part.rows;
    }
  }
  return named;
}

std::vector<NamedTensor> Decoder::NamedGradients() const {
  std::vector<NamedTensor> named;
  for (size_t i = 0; i < plan_.size(); ++i) {
    const at::Tensor grad = leaves_[i].grad();
    int64_t row = 0;
    for (const Part& part : plan_[i].parts) {
      if (grad.defined()) named.push_back({part.name, grad.narrow(0, row, part.rows)});
      row += part.rows;
    }
  }
  return named;
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
