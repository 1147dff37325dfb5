#include "engine/checkpoint/safetensors_header.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace lethe {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxDimensions = 16;
constexpr size_t kMaxNameBytes = 4096;
constexpr std::string_view kMetadata = "__metadata__";

struct DTypeRow {
  DType dtype;
  std::string_view name;
  size_t bytes;
};
constexpr DTypeRow kDTypes[] = {
    {DType::kBool, "BOOL", 1},      {DType::kU8, "U8", 1},          {DType::kI8, "I8", 1},
    {DType::kF8E4M3, "F8_E4M3", 1}, {DType::kF8E5M2, "F8_E5M2", 1}, {DType::kI16, "I16", 2},
    {DType::kU16, "U16", 2},        {DType::kF16, "F16", 2},        {DType::kBF16, "BF16", 2},
    {DType::kI32, "I32", 4},        {DType::kU32, "U32", 4},        {DType::kF32, "F32", 4},
    {DType::kI64, "I64", 8},        {DType::kU64, "U64", 8},        {DType::kF64, "F64", 8},
};

const DTypeRow& Row(DType dtype) {
  return *std::find_if(std::begin(kDTypes), std::end(kDTypes),
                       [dtype](const DTypeRow& row) { return row.dtype == dtype; });
}

absl::Status Bad(std::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, "BAD_CHECKPOINT", message);
}

// A name as a message may show it: short and printable.
std::string Shown(std::string_view name) {
  std::string shown = "'";
  for (const char c : name.substr(0, 120)) shown += c >= 0x20 && c < 0x7f ? c : '?';
  return shown + (name.size() > 120 ? "…'" : "'");
}

absl::Status BadTensor(std::string_view name, std::string_view what) {
  return Error(
      absl::StatusCode::kInvalidArgument, "BAD_CHECKPOINT",
      absl::StrCat("tensor ", Shown(name), " ", absl::string_view(what.data(), what.size())),
      {{"tensor", Shown(name)}});
}

// Walks the JSON as a machine of four places; whatever the grammar of safetensors.h does not have
// is refused at the place where it stands.
class HeaderReader : public nlohmann::json_sax<Json> {
 public:
  absl::Status status;
  SafetensorsHeader header;
  std::vector<std::pair<uint64_t, uint64_t>> offsets;  // one a tensor

  bool start_object(std::size_t) override {
    if (place_ == kStart) {
      place_ = kRoot;
      return true;
    }
    if (place_ != kRoot) return Refuse("an object stands where none may stand");
    if (name_ == kMetadata) {
      if (std::exchange(has_metadata_, true)) return Refuse("__metadata__ comes twice");
      place_ = kMetadataObject;
      return true;
    }
    place_ = kTensor;
    tensor_ = TensorInfo{.name = name_};
    numbers_.clear();
    dtype_.reset();
    has_shape_ = false;
    offsets_.clear();
    return true;
  }

  bool key(std::string& key) override {
    if (key.size() > kMaxNameBytes) return Refuse("a name is too long");
    if (place_ == kRoot) {
      name_ = std::move(key);
      if (name_.empty()) return Refuse("a tensor has no name");
      if (name_ != kMetadata && !names_.insert(name_).second) {
        return RefuseTensor("comes twice");
      }
      return true;
    }
    field_ = std::move(key);
    return true;
  }

  bool string(std::string& value) override {
    if (place_ == kMetadataObject) {
      if (!header.metadata.emplace(field_, std::move(value)).second) {
        return Refuse("a field of __metadata__ comes twice");
      }
      return true;
    }
    if (place_ != kTensor || field_ != "dtype") return Refuse("a string stands where none may");
    if (dtype_.has_value()) return RefuseTensor("has two dtypes");
    dtype_ = std::move(value);
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != kTensor) return Refuse("a list stands where none may stand");
    if (field_ == "shape") {
      if (std::exchange(has_shape_, true)) return RefuseTensor("has two shapes");
    } else if (field_ == "data_offsets") {
      if (!offsets_.empty()) return RefuseTensor("has two pairs of offsets");
    } else {
      return RefuseTensor("has a field that the format does not know");
    }
    place_ = kNumbers;
    numbers_.clear();
    return true;
  }

  bool number_unsigned(uint64_t value) override {
    if (place_ != kNumbers) return Refuse("a number stands where none may stand");
    if (numbers_.size() == kMaxDimensions) return RefuseTensor("has too many dimensions");
    numbers_.push_back(value);
    return true;
  }

  bool end_array() override {
    place_ = kTensor;
    if (field_ == "data_offsets") {
      if (numbers_.size() != 2) return RefuseTensor("needs two offsets");
      offsets_ = numbers_;
      return true;
    }
    for (const uint64_t size : numbers_) {
      if (size > uint64_t{std::numeric_limits<int64_t>::max()}) {
        return RefuseTensor("has a dimension that leaves 63 bits");
      }
      tensor_.shape.push_back(static_cast<int64_t>(size));
    }
    return true;
  }

  bool end_object() override {
    if (place_ == kRoot) {
      place_ = kEnd;
      return true;
    }
    if (place_ == kMetadataObject) {
      place_ = kRoot;
      return true;
    }
    place_ = kRoot;
    return EndTensor();
  }

  bool null() override { return Refuse("a null stands where none may stand"); }
  bool boolean(bool) override { return Refuse("a truth value stands where none may stand"); }
  bool number_integer(int64_t) override { return Refuse("a number is negative"); }
  bool number_float(double, const std::string&) override {
    return Refuse("a number is not whole, or leaves 64 bits");
  }
  bool binary(Json::binary_t&) override { return Refuse("it is not JSON"); }
  bool parse_error(std::size_t at, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Refuse(absl::StrCat("the header is not JSON at byte ", at));
  }
  bool done() const { return place_ == kEnd; }

 private:
  enum Place { kStart, kRoot, kMetadataObject, kTensor, kNumbers, kEnd };

  bool EndTensor() {
    if (!dtype_.has_value()) return RefuseTensor("has no dtype");
    if (!has_shape_) return RefuseTensor("has no shape");
    if (offsets_.empty()) return RefuseTensor("has no data_offsets");
    const std::optional<DType> dtype = ParseDType(*dtype_);
    if (!dtype.has_value()) {
      status = Error(absl::StatusCode::kInvalidArgument, "MODEL_UNSUPPORTED",
                     absl::StrCat("tensor ", Shown(name_), " has the dtype ", Shown(*dtype_),
                                  ", which is not known"),
                     {{"tensor", Shown(name_)}, {"dtype", Shown(*dtype_)}});
      return false;
    }
    tensor_.dtype = *dtype;
    if (offsets_[0] > offsets_[1]) return RefuseTensor("ends before it begins");
    const std::optional<uint64_t> bytes = TensorBytes(*dtype, tensor_.shape);
    if (!bytes.has_value()) return RefuseTensor("has a shape whose product leaves 63 bits");
    tensor_.begin = offsets_[0];
    tensor_.bytes = offsets_[1] - offsets_[0];
    if (*bytes != tensor_.bytes) {
      return RefuseTensor(absl::StrCat("has ", tensor_.bytes, " bytes by its offsets and ", *bytes,
                                       " by dtype and shape"));
    }
    header.tensors.push_back(std::move(tensor_));
    return true;
  }

  bool Refuse(std::string_view what) {
    status = Bad(what);
    return false;
  }
  bool RefuseTensor(std::string_view what) {
    status = BadTensor(name_, what);
    return false;
  }

  Place place_ = kStart;
  std::string name_;   // key in the root
  std::string field_;  // key in the object below
  std::unordered_set<std::string> names_;
  bool has_metadata_ = false;
  TensorInfo tensor_;
  std::optional<std::string> dtype_;
  bool has_shape_ = false;
  std::vector<uint64_t> numbers_, offsets_;
};

// Sorts by place and wants the tensors to cover [0, data_bytes) exactly once.
absl::Status SortAndCover(std::vector<TensorInfo>* tensors, uint64_t data_bytes) {
  std::stable_sort(tensors->begin(), tensors->end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.begin, a.bytes) < std::pair(b.begin, b.bytes);
  });
  uint64_t end = 0;
  for (const TensorInfo& tensor : *tensors) {
    if (tensor.begin < end) return BadTensor(tensor.name, "overlaps the one before");
    if (tensor.begin > end) return BadTensor(tensor.name, "leaves a hole before it");
    if (tensor.bytes > data_bytes - end) return BadTensor(tensor.name, "ends behind the file");
    end += tensor.bytes;
  }
  if (end != data_bytes) {
    return Bad(absl::StrCat("the tensors end at byte ", end, " of the data and the file at byte ",
                            data_bytes));
  }
  return absl::OkStatus();
}

}  // namespace

std::string_view DTypeName(DType dtype) { return Row(dtype).name; }
size_t DTypeBytes(DType dtype) { return Row(dtype).bytes; }

std::optional<DType> ParseDType(std::string_view name) {
  for (const DTypeRow& row : kDTypes) {
    if (row.name == name) return row.dtype;
  }
  return std::nullopt;
}

std::optional<uint64_t> TensorBytes(DType dtype, std::span<const int64_t> shape) {
  uint64_t bytes = DTypeBytes(dtype);
  for (const int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes)) {
      return std::nullopt;
    }
  }
  if (bytes > uint64_t{std::numeric_limits<int64_t>::max()}) return std::nullopt;
  return bytes;
}

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view json,
                                                         uint64_t data_bytes) {
  if (json.empty() || json[0] != '{') return Bad("the header does not begin with '{'");
  HeaderReader reader;
  const bool whole = Json::sax_parse(json.begin(), json.end(), &reader);
  LETHE_RETURN_IF_ERROR(reader.status);
  if (!whole || !reader.done()) return Bad("the header is not whole");
  LETHE_RETURN_IF_ERROR(SortAndCover(&reader.header.tensors, data_bytes));
  return std::move(reader.header);
}

absl::StatusOr<std::string> MakeSafetensorsHeader(std::span<const TensorInfo> tensors,
                                                  const SafetensorsMetadata& metadata,
                                                  uint64_t* data_bytes) {
  nlohmann::ordered_json root = nlohmann::ordered_json::object();
  if (!metadata.empty()) root[std::string(kMetadata)] = metadata;
  std::unordered_set<std::string_view> names;
  uint64_t end = 0;
  std::string json = root.empty() ? "{" : root.dump().substr(0, root.dump().size() - 1);
  for (const TensorInfo& tensor : tensors) {
    if (tensor.name.empty() || tensor.name == kMetadata || !names.insert(tensor.name).second) {
      return BadTensor(tensor.name, "needs a name of its own");
    }
    const std::optional<uint64_t> bytes = TensorBytes(tensor.dtype, tensor.shape);
    if (!bytes.has_value() || *bytes > uint64_t{std::numeric_limits<int64_t>::max()} - end) {
      return BadTensor(tensor.name, "has a shape that cannot be stored");
    }
    const nlohmann::ordered_json entry = {{"dtype", std::string(DTypeName(tensor.dtype))},
                                          {"shape", tensor.shape},
                                          {"data_offsets", {end, end + *bytes}}};
    if (json.size() > 1) json += ",";
    json += nlohmann::ordered_json(tensor.name)
                .dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
            ":" + entry.dump();
    end += *bytes;
  }
  json += "}";
  json.resize((json.size() + 7) / 8 * 8, ' ');
  if (json.size() > kHeaderLimitBytes) return Bad("the header would exceed 100 MB");
  std::string header(8, '\0');
  for (int i = 0; i < 8; ++i) header[i] = static_cast<char>(uint64_t{json.size()} >> (8 * i));
  *data_bytes = end;
  return header + json;
}

}  // namespace lethe
