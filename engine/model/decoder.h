// One decoder for every supported family; what differs between families is data in DecoderConfig.
//
//   LETHE_ASSIGN_OR_RETURN(Decoder model, Decoder::Load(folder, device));
//   at::Tensor hidden = model.Hidden(ids);                 // (B,T) int64 -> (B*T,E)
//   at::Tensor logits = model.Logits(hidden.index_select(0, rows));   // (N,E) -> (N,V)
//
// Leaves     the tensors that autograd and the optimizer see. Projections that read the same input
//            are one leaf (q, k and v; gate and up), so that a step costs fewer and larger matrix
//            products. Named() gives the checkpoint's own tensors.
// Adapter    with one (lora_adapter.h) its matrices are the leaves, and the weights stay as they
//            are.
// Copies     share the weights, like tensors; Clone() does not.
// Precision  fp32, unless In() says otherwise: it gives a decoder that shares the weights and
//            computes in bf16, for training, while this one goes on scoring in fp32. Gradients of
//            both go to the same leaves.
// Batches    rows are padded on the right; attention is causal, so what real tokens give never
//            depends on the padding.
// Threads    const calls from any threads while nobody writes the leaves.
// Errors     Load, Init and FromTensors return a status; Hidden and Logits throw LibTorch's
//            exceptions (their callers end at CatchTorch) and want ids below vocab_size and rows no
//            longer than the context: CheckIds says so in advance.
#ifndef LETHE_ENGINE_MODEL_DECODER_H_
#define LETHE_ENGINE_MODEL_DECODER_H_

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/checkpoint/checkpoint_folder.h"
#include "engine/checkpoint/decoder_config.h"
#include "engine/checkpoint/decoder_tensors.h"
#include "engine/device.h"
#include "engine/model/attention.h"
#include "engine/model/language_model.h"
#include "engine/model/lora_adapter.h"
#include "engine/model/rounded_leaves.h"
#include "engine/precision.h"

namespace lethe {

struct NamedTensor {
  std::string name;   // as in the checkpoint: "model.layers.0.self_attn.q_proj.weight"
  at::Tensor tensor;  // as it lies there: a view, or a copy where the leaf lies otherwise
};

class Decoder : public LanguageModel {
 public:
  // The checkpoint's weights in fp32 on `device`. Errors: INVALID_ARGUMENT/BAD_CHECKPOINT for a
  // tensor that is missing or has a shape that config.json does not give it.
  static absl::StatusOr<Decoder> Load(const CheckpointFolder& folder, const Device& device);
  static absl::StatusOr<Decoder> FromTensors(const DecoderConfig& config,
                                             const std::map<std::string, at::Tensor>& tensors,
                                             const Device& device);
  // Random weights for training from nothing: normal with config.initializer_range, norms 1, biases
  // 0. The same seed gives the same bits on every machine.
  static absl::StatusOr<Decoder> Init(const DecoderConfig& config, uint64_t seed,
                                      const Device& device);

  // The same weights, computed with in `precision`. Rounded copies of them are made at the first
  // use and again after each change that was made to a leaf in place.
  Decoder In(Precision precision) const;
  Precision precision() const { return precision_; }
  // Holds the weights in bf16 from now on (biases and the norms' stay fp32): for kBf16Pure. Not for
  // a decoder that copies share.
  void HoldInBf16();
  // The same weights; each layer's forward pass is run again in the backward pass instead of being
  // remembered. The same gradients bit for bit, for a third more time.
  Decoder Recomputing() const;

  const DecoderConfig& config() const { return config_; }
  int64_t vocab_size() const override { return config_.vocab_size; }
  int64_t context() const override { return config_.context; }
  const at::Device& device() const override { return device_; }

  // ids (B,T) int64 -> (B*T,E), what the output layer reads; row b*T+t is position t of sequence b.
  // E is the hidden size but for the few models whose embedding is smaller. Carries grad.
  at::Tensor Hidden(const at::Tensor& ids) const override;
  // What the output layer would read if the model ended behind a layer: visit(layer, hidden (B*T,E))
  // for each, first to last; the last is Hidden's. Carries no grad; good until the visit returns.
  using LayerVisitor = std::function<void(int64_t layer, const at::Tensor& hidden)>;
  void VisitLayers(const at::Tensor& ids, const LayerVisitor& visit) const;
  // Hidden in float64, with one weight at a time in float64: what fp32 rounds away. Carries no
  // grad. The tables of rotary positions stay as they are: they belong to the model.
  at::Tensor HiddenInDouble(const at::Tensor& ids) const;
  // hidden (N,E) -> (N,V). Carries grad. A whole batch's logits are large: sequence_loss.h works in
  // chunks instead.
  at::Tensor Logits(const at::Tensor& hidden) const override;
  std::unique_ptr<ModelCache> NewCache() const override;  // a KvCache
  std::vector<const Decoder*> Members() const override { return {this}; }
  const at::Tensor& OutputWeight() const;  // (V,E); the embedding where the model ties them
  at::Tensor RoundedOutputWeight() const;  // in bf16; undefined in fp32

  // For the optimizer, in a fixed order; all require grad.
  const std::vector<at::Tensor>& Leaves() const override {
    return adapter_.has_value() ? adapter_->leaves() : leaves_;
  }
  std::vector<NamedTensor> Named() const;  // the weights' values, detached
  // One of them, so that one copy at a time is in memory; undefined where the model has none.
  at::Tensor Named(const std::string& name) const;
  // the weights' gradients; those not defined are left out
  std::vector<NamedTensor> NamedGradients() const;
  int64_t ParameterCount() const;  // of the weights

  std::vector<LoraTarget> LoraTargets() const;  // what an adapter may stand beside
  void Attach(LoraAdapter adapter);             // made for this model; takes the place of another
  void Merge();                                 // the adapter, if any, into the weights
  const LoraAdapter* adapter() const { return adapter_.has_value() ? &*adapter_ : nullptr; }

  Decoder Clone() const;  // own weights, same values
  std::unique_ptr<LanguageModel> Copy() const override {
    return std::make_unique<Decoder>(Clone());
  }

  // The layers, with attention left to the caller: attend(layer, qkv (N,(H+2K)h)) -> (N,H*h). ids
  // (N) int64 and the positions (N) int64 that they stand at -> (N,E), as Hidden. Hidden and the KV
  // cache are two callers.
  using Attend = std::function<at::Tensor(int64_t layer, at::Tensor qkv)>;
  at::Tensor Run(const at::Tensor& ids, const at::Tensor& positions, const Attend& attend) const;
  AttentionShape Shape(int64_t layer) const;
  const at::Tensor& RopeCos() const { return rope_cos_; }  // (context,r/2) fp32; r values of a head
  const at::Tensor& RopeSin() const { return rope_sin_; }  // turn, none where positions are learned

 private:
  // A leaf is made of the checkpoint's tensors, one below the other.
  struct Part {
    std::string name;
    int64_t row, rows;  // of the leaf
    Stored stored;
  };
  struct Leaf {
    Slot slot;
    std::vector<int64_t> shape;
    std::vector<Part> parts;
  };
  // Which leaf fills each slot of a layer; -1: none does.
  struct Slots {
    std::array<int, kSlots> leaf;
    int& operator[](Slot slot) { return leaf[static_cast<int>(slot)]; }
    int operator[](Slot slot) const { return leaf[static_cast<int>(slot)]; }
  };

  Decoder(const DecoderConfig& config, at::Device device);
  // Fills every leaf with the tensors that `read` gives for their names.
  static absl::StatusOr<Decoder> Build(
      const DecoderConfig& config, const Device& device,
      const std::function<absl::StatusOr<at::Tensor>(const std::string&)>& read);
  void PlanLeaves();
  void MakeRopeTables();
  at::Tensor InFile(const at::Tensor& leaf, const Part& part) const;
  std::vector<NamedTensor> NamedParts(const std::vector<at::Tensor>& leaves) const;
  // Both compute in x's type. (N) -> (N,D): what the first layer reads.
  at::Tensor Embed(const at::Tensor& ids, const at::Tensor& positions, at::ScalarType type) const;
  at::Tensor RunLayers(at::Tensor x, const Attend& attend) const;
  // x (N,inputs) -> (N,outputs). Every product with a weight goes through here but the output
  // layer's.
  at::Tensor Project(const at::Tensor& x, const Slots& slots, Slot weight,
                     std::optional<Slot> bias = std::nullopt) const;
  at::Tensor ProjectByWeight(const at::Tensor& x, const Slots& slots, Slot weight,
                             std::optional<Slot> bias) const;
  at::Tensor Normed(const at::Tensor& x, const Slots& slots, Slot weight, Slot bias) const;
  // x (N,D) -> (N,D), one layer on.
  at::Tensor RunLayer(int64_t layer, at::Tensor x, const Attend& attend) const;
  at::Tensor HiddenRecomputed(const at::Tensor& ids, const at::Tensor& positions) const;
  at::Tensor Ended(at::Tensor x) const;  // what comes behind the last layer
  // What a part adds; h (N,D) is what it reads, with the norm before it, if any.
  at::Tensor AttentionPart(int64_t layer, at::Tensor h, const Attend& attend) const;
  at::Tensor MlpPart(int64_t layer, at::Tensor h) const;
  // What is computed with x: in float64 where x is, else as it lies. Undefined where the model has
  // none.
  at::Tensor Weight(const Slots& slots, Slot slot, const at::Tensor& x) const {
    if (slots[slot] < 0) return {};
    const at::Tensor& leaf = leaves_[slots[slot]];
    return x.scalar_type() == at::kDouble ? leaf.to(at::kDouble) : leaf;
  }
  at::ScalarType Between() const {  // of what lies between two products
    return precision_ == Precision::kFp32 ? at::kFloat : at::kBFloat16;
  }

  DecoderConfig config_;
  at::Device device_;
  std::vector<Leaf> plan_;
  std::vector<Slots> layers_;
  Slots ends_;                      // before and after the layers
  std::vector<at::Tensor> leaves_;  // the weights
  std::optional<LoraAdapter> adapter_;
  at::Tensor rope_cos_, rope_sin_;
  Precision precision_ = Precision::kFp32;
  bool recomputes_ = false;
  std::shared_ptr<RoundedLeaves> rounded_;  // of In(kBf16); null in fp32
};

// `model` as steps compute; with kBf16Pure its own weights are bf16 from now on.
Decoder ForTraining(Decoder& model, Precision precision, bool recompute);

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_DECODER_H_
