// A report as JSON, for programs and for keeping.
//
//   LETHE_ASSIGN_OR_RETURN(std::string json, ReportToJson(report));
//   LETHE_ASSIGN_OR_RETURN(v1::VerificationReport same, ParseReport(json));   // byte for byte
//
// Protobuf's JSON mapping of VerificationReport, names as in report.proto: `measurements` and
// `policy` are base64, the very bytes that the report is about. Beside them `measurements_decoded`
// and `policy_decoded` show the same for people, and `derived` what the page computes from them:
// the table of what was tried, intervals of AUCs, curves of relearning. Nothing is read from these.
//
// Errors     INVALID_ARGUMENT, REPORT_MALFORMED.
// Threads    pure; any.
#ifndef LETHE_EVIDENCE_REPORT_JSON_H_
#define LETHE_EVIDENCE_REPORT_JSON_H_

#include <string>

#include "absl/status/statusor.h"
#include "lethe/v1/report.pb.h"

namespace lethe {

absl::StatusOr<std::string> ReportToJson(const v1::VerificationReport& report);

}  // namespace lethe

#endif  // LETHE_EVIDENCE_REPORT_JSON_H_
