// Small random models in Hugging Face folders, of several families and one vocabulary.
#ifndef LETHE_TESTS_ENGINE_ENSEMBLE_MEMBER_FOLDERS_H_
#define LETHE_TESTS_ENGINE_ENSEMBLE_MEMBER_FOLDERS_H_

#include <filesystem>
#include <stdexcept>
#include <string>

#include "engine/model/decoder_io.h"
#include "tests/engine/random_families.h"

namespace lethe {

// FamilyCases(vocab)[which % their number] in `folder`, which must not exist. `tokenizer`: what its
// tokenizer.json is to hold; empty: it has none.
inline std::filesystem::path MakeMember(const std::filesystem::path& folder, size_t which,
                                        uint64_t seed, int64_t vocab = 64,
                                        const std::string& tokenizer = "") {
  const std::vector<FamilyCase> cases = FamilyCases(vocab);
  const FamilyCase& c = cases[which % cases.size()];
  NewCheckpoint checkpoint{.out = folder, .config_json = c.config_json};
  if (!tokenizer.empty()) checkpoint.files["tokenizer.json"] = tokenizer;
  const auto saved = SaveNewDecoder(RandomDecoder(c.config, seed), std::move(checkpoint));
  if (!saved.ok()) throw std::runtime_error(std::string(saved.status().message()));
  return folder;
}

}  // namespace lethe

#endif  // LETHE_TESTS_ENGINE_ENSEMBLE_MEMBER_FOLDERS_H_
