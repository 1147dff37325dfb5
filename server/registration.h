// What can be known of a model before a worker has read it: paths, data sets, policy.
//
//   LETHE_ASSIGN_OR_RETURN(storage::RegisterModel command, CheckRegistration(request, config));
//
// Errors     INVALID_ARGUMENT: MODEL_ID_MALFORMED, SOURCE_UNREADABLE, DATASET_UNREADABLE,
//            HOLDOUT_TOO_SMALL, POLICY_INVALID, each with the field, data sets with the line too.
//            No message quotes a data set.
// Threads    pure but for the files it reads: it blocks.
#ifndef LETHE_SERVER_REGISTRATION_H_
#define LETHE_SERVER_REGISTRATION_H_

#include <lethe/v1/model_service.pb.h>

#include "absl/status/statusor.h"
#include "server/config.h"
#include "storage/command/commands.h"

namespace lethe {

// Without actor, job id and seed.
absl::StatusOr<storage::RegisterModel> CheckRegistration(const v1::RegisterModelRequest& request,
                                                         const ServerConfig& config);

}  // namespace lethe

#endif  // LETHE_SERVER_REGISTRATION_H_
