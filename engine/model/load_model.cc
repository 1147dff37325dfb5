#include "engine/model/load_model.h"

#include <utility>
#include <vector>

#include "engine/checkpoint/ensemble_folder.h"
#include "engine/model/ensemble_model.h"
#include "engine/model/model_folder.h"

namespace lethe {
namespace {

absl::StatusOr<EnsembleModel> LoadEnsemble(const std::filesystem::path& path,
                                           const Device& device) {
  LETHE_ASSIGN_OR_RETURN(const EnsembleFolder ensemble, EnsembleFolder::Open(path));
  LETHE_RETURN_IF_ERROR(ensemble.CheckMembers());
  std::vector<Decoder> members;
  for (size_t i = 0; i < ensemble.members().size(); ++i) {
    absl::StatusOr<ModelFolder> loaded = ModelFolder::Load(ensemble.members()[i].path, device);
    if (!loaded.ok()) return OfMember(loaded.status(), i);
    members.push_back(std::move(loaded->model));
  }
  return EnsembleModel::Of(std::move(members));
}

}  // namespace

absl::StatusOr<std::unique_ptr<const LanguageModel>> LoadModel(
    const std::filesystem::path& folder, const Device& device,
    const std::filesystem::path& adapter) {
  if (!IsEnsemble(folder)) {
    LETHE_ASSIGN_OR_RETURN(ModelFolder loaded, ModelFolder::Load(folder, device, adapter));
    return std::make_unique<const Decoder>(std::move(loaded.model));
  }
  if (!adapter.empty()) {
    return Error(
        absl::StatusCode::kInvalidArgument, "MODEL_IS_ENSEMBLE",
        "an adapter stands beside the weights of one model, and the folder is an ensemble; "
        "load it on the member that it was made for");
  }
  LETHE_ASSIGN_OR_RETURN(EnsembleModel ensemble, LoadEnsemble(folder, device));
  return std::make_unique<const EnsembleModel>(std::move(ensemble));
}

}  // namespace lethe
