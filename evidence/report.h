// Verification reports: the measurements as the verifier's bytes, the policy, and the verdict that
// follows.
//
//   LETHE_ASSIGN_OR_RETURN(v1::VerificationReport report,
//                          BuildReport(result.measurements(), policy, clock->Now()));
//   LETHE_ASSIGN_OR_RETURN(ReportCheck check, CheckReport(report));
//   for (const std::string& difference : check.differences) ...
//
// No difference: the report says what follows from it.
//
// Threads    pure functions; any.
#ifndef LETHE_EVIDENCE_REPORT_H_
#define LETHE_EVIDENCE_REPORT_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lethe/v1/policy.pb.h"
#include "lethe/v1/report.pb.h"

namespace lethe {

// The version of a report's meaning that this code writes and checks.
inline constexpr int kReportVersion = 1;

// The report of a serialised Measurements, judged now. report_id is the SHA-256 of those very
// bytes; the policy is stored with its defaults filled in. INVALID_ARGUMENT, REPORT_MALFORMED or
// POLICY_INVALID as ComputeVerdict says.
absl::StatusOr<v1::VerificationReport> BuildReport(std::string_view measurements,
                                                   const v1::VerdictPolicy& policy, absl::Time now);

// A report decoded, its verdict recomputed, and what it claims otherwise.
struct ReportCheck {
  v1::Measurements measurements;
  v1::VerdictPolicy policy;
  v1::Verdict verdict;                   // recomputed here: show this one
  std::vector<std::string> differences;  // one plain sentence each; empty: the report is sound
  bool sound() const { return differences.empty(); }
};

// Recomputes everything that can be recomputed. INVALID_ARGUMENT: REPORT_MALFORMED (not a report,
// or measurements from which no verdict follows), POLICY_INVALID; UNIMPLEMENTED:
// REPORT_VERSION_UNKNOWN for a report of a newer meaning.
absl::StatusOr<ReportCheck> CheckReport(const v1::VerificationReport& report);

// A serialised VerificationReport, or the same in protobuf's JSON mapping (what `lethe report show
// --output json` writes): told apart by its first character. INVALID_ARGUMENT, REPORT_MALFORMED.
absl::StatusOr<v1::VerificationReport> ParseReport(std::string_view file_content);

// SHA-256 of the serialised report, canonical: the same for a report that was read and written
// again by this code.
std::string ReportDigest(const v1::VerificationReport& report);

}  // namespace lethe

#endif  // LETHE_EVIDENCE_REPORT_H_
