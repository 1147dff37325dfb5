// A candidate whose change is lost in rounding: every weight is moved back into the step of the
// base's grid that it came from, so that the rounded candidate is the rounded base to the last bit.
// A known truth to try verifiers on (verifier/calibrate), and what weak unlearning looks like by
// itself (Zhang et al. 2024, arXiv 2410.16454).
//
//   LETHE_RETURN_IF_ERROR(HideInRounding({.base_folder = base, .candidate_folder = candidate,
//                                         .condition = "int4-g128", .out_folder = out}));
//
// The grid is attack/quantise.h's. The largest weight of each group stays the base's, for it gives
// the scale.
// Guarantee  `out_folder` appears whole or not at all.
// Threads    any.
// Errors     INVALID_ARGUMENT/UNKNOWN_CONDITION for one that is no rounding, OUT_FOLDER_EXISTS,
//            BAD_CHECKPOINT for folders of different models; those of loading.
#ifndef LETHE_ENGINE_ROUNDING_H_
#define LETHE_ENGINE_ROUNDING_H_

#include <filesystem>
#include <string>

#include "base/status.h"
#include "engine/device.h"

namespace lethe {

struct HideInRoundingRequest {
  std::filesystem::path base_folder;
  std::filesystem::path candidate_folder;
  std::string condition;  // "int4", "int4-g128", "int8", "int8-g128"
  std::filesystem::path out_folder;
  Device device;
};

absl::Status HideInRounding(const HideInRoundingRequest& request);

}  // namespace lethe

#endif  // LETHE_ENGINE_ROUNDING_H_
