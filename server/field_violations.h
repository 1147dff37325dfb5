// All that is wrong with one request, so that its caller mends it in one go.
//
//   FieldViolations wrong;
//   wrong.Add(CheckName(request));  // OK adds nothing
//   wrong.Add(CheckReason(request));
//   LETHE_RETURN_IF_ERROR(wrong.status());
//
// Status     that of the first error added: its code, reason, message and metadata. Of the errors
//            about a field (FieldError) all go to the caller as violations of one BadRequest, kMost
//            at most.
// Batches    AboutField(status, "requests[3].") is the same error as seen from the batch; what it
//            carries moves along.
// Threads    values.
#ifndef LETHE_SERVER_FIELD_VIOLATIONS_H_
#define LETHE_SERVER_FIELD_VIOLATIONS_H_

#include <google/rpc/error_details.pb.h>

#include <string_view>

#include "absl/status/status.h"
#include "server/errors.h"

namespace lethe {

class FieldViolations {
 public:
  static constexpr int kMost = 16;

  void Add(const absl::Status& status);
  // True when looking further would find nothing that the caller will see: the answer is full, or
  // the first error is about no field.
  bool Enough() const;
  absl::Status status() const;

 private:
  absl::Status first_;
  google::rpc::BadRequest all_;
};

// What `status` says of fields; nothing when it is about none.
google::rpc::BadRequest ViolationsOf(const absl::Status& status);

// The same error with `prefix` before each field, and `more` in its metadata.
absl::Status AboutField(const absl::Status& status, std::string_view prefix,
                        const ErrorMetadata& more);

}  // namespace lethe

#endif  // LETHE_SERVER_FIELD_VIOLATIONS_H_
