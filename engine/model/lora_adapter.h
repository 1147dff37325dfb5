// Low-rank adapters beside a decoder's weights: y = W x becomes y + scale * B (A x).
//
//   LETHE_ASSIGN_OR_RETURN(LoraAdapter adapter, LoraAdapter::Fresh(lora, model, /*seed=*/7));
//   model.Attach(adapter);    // model.Leaves() are now A and B of each target; the weights stay
//   ...
//   model.Merge();            // into the weights; the adapter is gone
//
// Leaves     A (r,inputs) and B (outputs,r) of each module that the checkpoint names, in the order
//            of the model's tensors. Modules that the decoder fuses (q, k and v) have adapters of
//            their own, as in PEFT.
// Layout     B's rows lie as the decoder's leaf has them; Named() gives the file's order.
// Start      A uniform within 1/sqrt(inputs), B zero, as PEFT begins: the model is unchanged.
// Copies     share the tensors. Threads: as Decoder.
// Errors     INVALID_ARGUMENT: BAD_PARAMETER no module has a target's name; ADAPTER_MISFIT a tensor
//            that no module wants, or of another shape, or an A without its B.
#ifndef LETHE_ENGINE_MODEL_LORA_ADAPTER_H_
#define LETHE_ENGINE_MODEL_LORA_ADAPTER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/checkpoint/decoder_tensors.h"
#include "engine/lora.h"

namespace lethe {

class Decoder;

// A matrix of the checkpoint that an adapter may stand beside.
struct LoraTarget {
  std::string module;  // "model.layers.0.self_attn.q_proj"
  int leaf;            // of the decoder's weights
  int64_t row, rows;   // of that leaf
  int64_t inputs;
  Stored stored;
};

class LoraAdapter {
 public:
  static absl::StatusOr<LoraAdapter> Fresh(LoraConfig lora, const Decoder& model, uint64_t seed);
  // `tensors` as PEFT names them.
  static absl::StatusOr<LoraAdapter> FromTensors(LoraConfig lora, const Decoder& model,
                                                 const std::map<std::string, at::Tensor>& tensors);

  // Its targets are modules that are there.
  const LoraConfig& config() const { return lora_; }
  const std::vector<at::Tensor>& leaves() const { return leaves_; }  // all require grad
  // What PEFT's file has: "base_model.model.<module>.lora_A.weight" (r,inputs) and lora_B
  // (outputs,r), detached.
  std::map<std::string, at::Tensor> Named() const;

  // y (N,outputs), which the leaf made of x (N,inputs), with the adapters beside it.
  at::Tensor Apply(int leaf, const at::Tensor& x, const at::Tensor& y) const;
  // Adds what it makes to the weights, which must not require grad.
  void MergeInto(const std::vector<at::Tensor>& weights) const;
  LoraAdapter Clone() const;

 private:
  struct Part {
    LoraTarget target;
    int a, b;  // in leaves_
  };
  LoraAdapter(LoraConfig lora, const Decoder& model);
  void Add(LoraTarget target, const at::Tensor& a, const at::Tensor& b);

  LoraConfig lora_;
  int64_t heads_;
  at::Device device_;
  std::vector<std::vector<Part>> of_leaf_;  // by row
  std::vector<at::Tensor> leaves_;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_LORA_ADAPTER_H_
