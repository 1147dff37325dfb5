// Model folders and golden values of LETHE_TESTDATA. GoldenModel skips a test, naming what is
// missing, where they are not there.
#ifndef LETHE_TESTS_ENGINE_GOLDEN_DATA_H_
#define LETHE_TESTS_ENGINE_GOLDEN_DATA_H_

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/checkpoint/checkpoint_folder.h"
#include "engine/model/decoder.h"
#include "text/sequence.h"

namespace lethe {

// The path below LETHE_TESTDATA; nothing when it is not there, with the reason in `missing`.
inline std::optional<std::filesystem::path> TestData(const std::string& name,
                                                     std::string* missing) {
  const char* root = std::getenv("LETHE_TESTDATA");
  const std::filesystem::path path = std::filesystem::path(root ? root : "") / name;
  if (root && std::filesystem::exists(path)) return path;
  *missing = root ? "missing: " + path.string() : "LETHE_TESTDATA is not set; missing: " + name;
  return std::nullopt;
}

inline nlohmann::json ReadJson(const std::filesystem::path& file) {
  std::ifstream in(file);
  return nlohmann::json::parse(in);
}

// ids (B,T) int64
inline at::Tensor IdsOf(const nlohmann::json& rows) {
  std::vector<int64_t> flat;
  for (const auto& row : rows) {
    for (const auto& id : row) flat.push_back(id.get<int64_t>());
  }
  return at::tensor(flat, at::kLong).view({static_cast<int64_t>(rows.size()), -1});
}

inline at::Tensor TensorOf(const SafetensorsFile& file, const std::string& name) {
  const TensorInfo* info = file.Find(name);
  at::Tensor tensor = at::empty(info->shape, at::kFloat);
  std::memcpy(tensor.data_ptr(), file.Bytes(*info).data(), tensor.nbytes());
  return tensor;
}

inline double LargestGap(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

struct GoldenModel {
  std::filesystem::path path;
  CheckpointFolder folder;
  Decoder model;
  nlohmann::json golden;
  SafetensorsFile tensors;
};

inline absl::StatusOr<GoldenModel> OpenGolden(const std::filesystem::path& path) {
  LETHE_ASSIGN_OR_RETURN(CheckpointFolder folder, CheckpointFolder::Open(path));
  LETHE_ASSIGN_OR_RETURN(Decoder model, Decoder::Load(folder, Device{}));
  LETHE_ASSIGN_OR_RETURN(SafetensorsFile tensors,
                         SafetensorsFile::Open(path / "golden.safetensors"));
  return GoldenModel{path, std::move(folder), std::move(model), ReadJson(path / "golden.json"),
                     std::move(tensors)};
}

}  // namespace lethe

#endif  // LETHE_TESTS_ENGINE_GOLDEN_DATA_H_
