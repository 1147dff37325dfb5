// Low-rank adapters (Hu et al. 2021, arXiv 2106.09685), in the folder layout of PEFT:
// adapter_config.json and adapter_model.safetensors.
//
//   LETHE_ASSIGN_OR_RETURN(LoraConfig lora, ParseLoraConfig(json));
//   lora.Scale();   // W x becomes W x + Scale() B (A x), A (r,inputs), B (outputs,r)
//
//   MergeRequest merge{.base_folder = base, .adapter_folder = adapter, .out_folder = out};
//   LETHE_ASSIGN_OR_RETURN(std::string digest, MergeAdapter(merge));
//
// Refused    whatever changes what is computed and is not understood: another peft_type, biases,
//            DoRA, ranks that differ by layer, whole modules beside the adapter; a field that is
//            not known and says anything but null, false or nothing.
// Guarantee  MergeAdapter as Unlearn: whole or not at all. What the adapter does not touch comes out
//            byte for byte.
// Threads    values; any.
// Errors     INVALID_ARGUMENT: BAD_ADAPTER, ADAPTER_UNSUPPORTED (metadata "field"), ADAPTER_MISFIT,
//            a tensor that the model has no place for (metadata "tensor"), and what loading a folder
//            says. FAILED_PRECONDITION/BASE_CHANGED, the adapter was made for another base.
#ifndef LETHE_ENGINE_LORA_H_
#define LETHE_ENGINE_LORA_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "engine/device.h"

namespace lethe {

struct LoraConfig {
  int64_t rank = 8;
  double alpha = 16;
  bool rank_stabilised = false;  // Kalajdzievski 2023: alpha / sqrt(r) instead of alpha / r
  // Modules by the end of their names: "q_proj"; empty: every matrix of attention and MLP.
  std::vector<std::string> targets;

  double Scale() const;
  // As PEFT does it: the name itself, or what stands behind its last dots.
  bool Targets(std::string_view module) const;
};

absl::StatusOr<LoraConfig> ParseLoraConfig(std::string_view adapter_config_json);

// `targets` must not be empty here.
std::string LoraConfigJson(const LoraConfig& lora, const std::string& base_folder);

// A rank from 1 to 1024 and a finite alpha above 0; else INVALID_ARGUMENT/BAD_PARAMETER.
absl::Status CheckLora(const LoraConfig& lora);

struct MergeRequest {
  std::filesystem::path base_folder, adapter_folder;
  std::filesystem::path out_folder;  // must not exist; its parent must
  Device device;
};

// Writes the base with the adapter in its weights; returns the new folder's digest.
absl::StatusOr<std::string> MergeAdapter(const MergeRequest& request);

}  // namespace lethe

#endif  // LETHE_ENGINE_LORA_H_
