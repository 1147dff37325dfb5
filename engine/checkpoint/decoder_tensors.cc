#include "engine/checkpoint/decoder_tensors.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "engine/checkpoint/checkpoint_folder.h"
#include "engine/checkpoint/decoder_families.h"

namespace lethe {
namespace {

int64_t Length(Dim dim, const DecoderConfig& config) {
  const int64_t queries = config.num_heads * config.head_dim;
  const int64_t keys = config.num_kv_heads * config.head_dim;
  switch (dim) {
    case Dim::kNone:
      return 0;
    case Dim::kVocab:
      return config.vocab_size;
    case Dim::kHidden:
      return config.hidden_size;
    case Dim::kEmbedding:
      return config.EmbeddingSize();
    case Dim::kPositions:
      return config.context + config.position_offset;
    case Dim::kQueries:
      return queries;
    case Dim::kKeys:
      return keys;
    case Dim::kQkv:
      return queries + 2 * keys;
    case Dim::kHead:
      return config.head_dim;
    case Dim::kIntermediate:
      return config.intermediate_size;
  }
  return 0;
}

bool Has(Needed needed, const DecoderConfig& config) {
  switch (needed) {
    case Needed::kAlways:
      return true;
    case Needed::kQkvBias:
      return config.qkv_bias;
    case Needed::kOutBias:
      return config.out_bias;
    case Needed::kMlpBias:
      return config.mlp_bias;
    case Needed::kUntied:
      return !config.tied_embeddings;
    case Needed::kHeadNorms:
      return config.head_norms;
    case Needed::kNormWeights:
      return config.norm_weights;
    case Needed::kFinalNorm:
      return config.final_norm && config.norm_weights;
    case Needed::kProjections:
      return config.EmbeddingSize() != config.hidden_size;
  }
  return false;
}

bool IsPerLayer(std::string_view name) { return name.find("{}") != std::string_view::npos; }

// A name of the table as the checkpoint writes it.
std::string Written(std::string_view name, int64_t layer, const DecoderConfig& config) {
  const std::string_view prefix = RowOf(config).tensors.prefix;
  if (config.bare_names && name.substr(0, prefix.size()) == prefix) {
    name.remove_prefix(prefix.size());
  }
  return absl::StrReplaceAll(absl::string_view(name.data(), name.size()),
                             {{"{}", absl::StrCat(layer)}});
}

TensorRule RuleOf(const TensorRow& row, int64_t layer, const DecoderConfig& config) {
  TensorRule rule{.name = Written(row.name, layer, config),
                  .shape = {Length(row.rows, config)},
                  .slot = row.slot,
                  .layer = IsPerLayer(row.name) ? layer : -1,
                  .stored = row.stored};
  if (row.columns != Dim::kNone) rule.shape.push_back(Length(row.columns, config));
  if (row.stored == Stored::kTransposed) std::swap(rule.shape.front(), rule.shape.back());
  return rule;
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape) absl::StrAppend(&text, text.empty() ? "" : ", ", size);
  return "[" + text + "]";
}

absl::Status Wrong(std::string_view reason, const std::string& tensor, std::string_view what) {
  return Error(absl::StatusCode::kInvalidArgument, reason,
               absl::StrCat("tensor ", tensor, " ", absl::string_view(what.data(), what.size())),
               {{"tensor", tensor}});
}

absl::Status CheckWeight(const TensorRule& rule, const CheckpointFolder& folder) {
  const TensorInfo* tensor = folder.Find(rule.name);
  if (tensor == nullptr) return Wrong("BAD_CHECKPOINT", rule.name, "is missing");
  if (tensor->shape != rule.shape) {
    return Wrong("BAD_CHECKPOINT", rule.name,
                 absl::StrCat("has the shape ", ShapeText(tensor->shape), "; config.json gives it ",
                              ShapeText(rule.shape)));
  }
  if (tensor->dtype != DType::kF32 && tensor->dtype != DType::kF16 &&
      tensor->dtype != DType::kBF16) {
    return Wrong("MODEL_UNSUPPORTED", rule.name,
                 absl::StrCat("has the dtype ", std::string(DTypeName(tensor->dtype)),
                              "; weights must be F32, F16 or BF16"));
  }
  return absl::OkStatus();
}

// Readers differ in whether they tie what is stored twice; where both are equal it does not matter.
bool SameTensor(const CheckpointFolder& folder, const StoredExtra& extra) {
  const TensorInfo& copy = *folder.Find(extra.name);
  const TensorInfo& original = *folder.Find(extra.copy_of);
  return copy.dtype == original.dtype && copy.shape == original.shape &&
         folder.Bytes(copy) == folder.Bytes(original);
}

}  // namespace

std::vector<TensorRule> DecoderTensors(const DecoderConfig& config) {
  // The table's rows of one kind stand together: those before the layers, in them, after them.
  const std::span<const TensorRow> rows = RowOf(config).tensors.rows;
  std::vector<TensorRule> rules;
  for (size_t begin = 0; begin < rows.size();) {
    const bool per_layer = IsPerLayer(rows[begin].name);
    size_t end = begin;
    while (end < rows.size() && IsPerLayer(rows[end].name) == per_layer) ++end;
    for (int64_t layer = 0; layer < (per_layer ? config.num_layers : 1); ++layer) {
      for (const TensorRow& row : rows.subspan(begin, end - begin)) {
        if (Has(row.needed, config)) rules.push_back(RuleOf(row, layer, config));
      }
    }
    begin = end;
  }
  return rules;
}

absl::StatusOr<std::vector<StoredExtra>> CheckTensors(const DecoderConfig& config,
                                                      const CheckpointFolder& folder) {
  // Said before the weights of thousands of layers are listed: each layer has one at least.
  if (static_cast<uint64_t>(config.num_layers) > folder.tensors().size()) {
    return Error(
        absl::StatusCode::kInvalidArgument, "BAD_CHECKPOINT",
        absl::StrCat("config.json gives the model ", config.num_layers,
                     " layers; the weights have ", folder.tensors().size(), " tensors in all"),
        {{"field", "num_hidden_layers"}});
  }
  std::set<std::string> expected;
  for (TensorRule& rule : DecoderTensors(config)) {
    LETHE_RETURN_IF_ERROR(CheckWeight(rule, folder));
    expected.insert(std::move(rule.name));
  }
  std::vector<StoredExtra> extras;
  std::set<std::string> known;
  for (const ExtraRow& row : RowOf(config).tensors.extras) {
    for (int64_t i = 0; i < (IsPerLayer(row.name) ? config.num_layers : 1); ++i) {
      StoredExtra extra{Written(row.name, i, config), Written(row.copy_of, i, config)};
      if (expected.count(extra.name) > 0 || folder.Find(extra.name) == nullptr) continue;
      if (!extra.copy_of.empty() && !SameTensor(folder, extra)) {
        return Wrong("BAD_CHECKPOINT", extra.name,
                     "is stored although config.json ties it, and differs from what it is tied to");
      }
      known.insert(extra.name);
      extras.push_back(std::move(extra));
    }
  }
  for (const TensorInfo& tensor : folder.tensors()) {
    if (expected.count(tensor.name) == 0 && known.count(tensor.name) == 0) {
      return Wrong("MODEL_UNSUPPORTED", tensor.name,
                   "is not one that this family has; what it does is not known");
    }
  }
  return extras;
}

absl::StatusOr<DecoderConfig> ReadDecoderConfig(const CheckpointFolder& folder) {
  LETHE_ASSIGN_OR_RETURN(DecoderConfig config, ParseDecoderConfig(folder.config_json()));
  const std::string_view first = RowOf(config).tensors.rows.front().name;
  const std::string_view prefix = RowOf(config).tensors.prefix;
  config.bare_names =
      folder.Find(first) == nullptr && folder.Find(first.substr(prefix.size())) != nullptr;
  return config;
}

}  // namespace lethe
