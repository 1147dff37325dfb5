// An AuditCheckpointRequest checked and turned into an audit: the job that a verifier gets, and the
// policy that judges its figures.
//
//   LETHE_RETURN_IF_ERROR(CheckAuditForm(request, config));   // needs no model
//   LETHE_ASSIGN_OR_RETURN(Audit audit, ResolveAudit(core, request, id));
//
// Base       the registered checkpoint unless the caller names another: it knew all that was
//            forgotten since. Its folder may be gone by the model's policy; then the caller is told
//            to name another.
// Errors     those of VerifierService.AuditCheckpoint; all that are about fields in one status. No
//            message repeats what a caller wrote.
// Threads    any. ResolveAudit reads the store and tokenises: on a background thread.
#ifndef LETHE_SERVER_AUDIT_REQUEST_H_
#define LETHE_SERVER_AUDIT_REQUEST_H_

#include <lethe/v1/verifier_service.pb.h>

#include <string>

#include "absl/status/statusor.h"
#include "server/audit_hub.h"
#include "server/core.h"

namespace lethe {

absl::Status CheckAuditForm(const v1::AuditCheckpointRequest& request, const ServerConfig& config);

// `id` names the audit.
absl::StatusOr<Audit> ResolveAudit(const Core& core, const v1::AuditCheckpointRequest& request,
                                   const std::string& id);

}  // namespace lethe

#endif  // LETHE_SERVER_AUDIT_REQUEST_H_
