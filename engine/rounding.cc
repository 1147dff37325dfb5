#include "engine/rounding.h"

#include "engine/attack/quantise.h"
#include "engine/condition.h"
#include "engine/model/model_folder.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

absl::Status LoadAndHide(const HideInRoundingRequest& request) {
  LETHE_ASSIGN_OR_RETURN(const ModelCondition condition, ParseCondition(request.condition));
  if (condition.kind != ModelCondition::Kind::kQuantised) {
    return Error(absl::StatusCode::kInvalidArgument, "UNKNOWN_CONDITION",
                 "a condition that rounds weights is wanted: int8, int4, int8-g128, int4-g128");
  }
  std::error_code error;
  if (std::filesystem::exists(std::filesystem::symlink_status(request.out_folder, error))) {
    return Error(absl::StatusCode::kInvalidArgument, "OUT_FOLDER_EXISTS",
                 "the folder for the rounded-back model is already there");
  }
  LETHE_ASSIGN_OR_RETURN(const ModelFolder base,
                         ModelFolder::Load(request.base_folder, request.device));
  LETHE_ASSIGN_OR_RETURN(ModelFolder candidate,
                         ModelFolder::Load(request.candidate_folder, request.device));
  LETHE_RETURN_IF_ERROR(
      KeepCodes(base.model, candidate.model, {.bits = condition.bits, .group = condition.group}));
  RunRecord run = NewRunRecord(request.device);
  run.method = "hide_in_rounding";
  return candidate.SaveAs(request.out_folder, RunRecordJson(run, {})).status();
}

}  // namespace

absl::Status HideInRounding(const HideInRoundingRequest& request) {
  return CatchTorch("hiding a change in rounding", [&] { return LoadAndHide(request); });
}

}  // namespace lethe
