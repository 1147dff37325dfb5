// A model of either kind from its folder, for whoever only reads it: a decoder, or an ensemble.
//
//   LETHE_ASSIGN_OR_RETURN(const std::unique_ptr<const LanguageModel> model,
//                          LoadModel(folder, device));
//
// Who changes a model or trains from one loads a ModelFolder (model_folder.h), which refuses an
// ensemble with MODEL_IS_ENSEMBLE and what to do instead.
// Memory     an ensemble's members stand in memory together.
// Errors     as ModelFolder::Load and EnsembleFolder (metadata "member"); INVALID_ARGUMENT/
//            MODEL_IS_ENSEMBLE where an adapter is to be loaded on top of one.
// Threads    a free function; any.
#ifndef LETHE_ENGINE_MODEL_LOAD_MODEL_H_
#define LETHE_ENGINE_MODEL_LOAD_MODEL_H_

#include <filesystem>
#include <memory>

#include "base/status.h"
#include "engine/device.h"
#include "engine/model/language_model.h"

namespace lethe {

// `adapter`: a PEFT folder to load on top of a decoder; empty: none.
absl::StatusOr<std::unique_ptr<const LanguageModel>> LoadModel(
    const std::filesystem::path& folder, const Device& device,
    const std::filesystem::path& adapter = {});

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_LOAD_MODEL_H_
