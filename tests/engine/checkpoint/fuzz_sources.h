// Sound model folders for tests that damage them: two made here, and every folder of
// $LETHE_TESTDATA/models where that is set. Each lies in a folder of its own as shards with an
// index, so that all four kinds of files are there.
#ifndef LETHE_TESTS_ENGINE_CHECKPOINT_FUZZ_SOURCES_H_
#define LETHE_TESTS_ENGINE_CHECKPOINT_FUZZ_SOURCES_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace lethe {

struct FuzzSource {
  std::string name;
  std::filesystem::path folder;  // writable; who damages a file puts it back
  std::string config, index, tokenizer;
  std::vector<std::string> weights;  // whole safetensors files
  uint64_t header_bytes = 0;         // of all of them
};

// Not crash-safe, unlike base/file.h: thousands of syncs are not what is tested here.
void PutQuickly(const std::filesystem::path& file, const std::string& content);

// Copies and builds under `root`. Failures are gtest's.
void MakeFuzzSources(const std::filesystem::path& root, std::vector<FuzzSource>* sources);

}  // namespace lethe

#endif  // LETHE_TESTS_ENGINE_CHECKPOINT_FUZZ_SOURCES_H_
