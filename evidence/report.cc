#include "evidence/report.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/status.h"
#include "evidence/leaf.h"
#include "evidence/verdict.h"

namespace lethe {
namespace {

constexpr std::string_view kMalformed = "REPORT_MALFORMED";

bool ParseBytes(std::string_view bytes, google::protobuf::MessageLite* message) {
  constexpr size_t kMost = size_t{1} << 30;
  return bytes.size() <= kMost &&
         message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

absl::Status Malformed(std::string_view what) {
  return Error(absl::StatusCode::kInvalidArgument, kMalformed, what);
}

const std::string& Word(v1::Outcome outcome) { return v1::Outcome_Name(outcome); }
const std::string& Word(v1::GateResult result) { return v1::GateResult_Name(result); }

void CompareGates(const v1::Verdict& claimed, const v1::Verdict& follows,
                  std::vector<std::string>& out) {
  const int common = std::min(claimed.gates_size(), follows.gates_size());
  if (claimed.gates_size() != follows.gates_size()) {
    out.push_back(absl::StrCat("the report shows ", claimed.gates_size(), " gates, ",
                               follows.gates_size(), " follow"));
  }
  for (int i = 0; i < common; ++i) {
    const v1::Gate& c = claimed.gates(i);
    const v1::Gate& f = follows.gates(i);
    if (CanonicalBytes(c) == CanonicalBytes(f)) continue;
    if (c.name() != f.name()) {
      out.push_back(absl::StrCat("gate ", i + 1, " should be ", f.name()));
    } else if (c.result() != f.result()) {
      out.push_back(absl::StrCat("gate ", f.name(), " is shown as ", Word(c.result()), ", ",
                                 Word(f.result()), " follows"));
    } else if (c.value() != f.value() || c.limit() != f.limit()) {
      out.push_back(absl::StrCat("gate ", f.name(), " shows ", c.value(), " against ", c.limit(),
                                 ", ", f.value(), " against ", f.limit(), " follow"));
    } else {
      out.push_back(absl::StrCat("gate ", f.name(), " is worded otherwise than its figures say"));
    }
  }
}

void CompareTickets(const v1::Verdict& claimed, const v1::Verdict& follows,
                    std::vector<std::string>& out) {
  if (claimed.tickets_size() != follows.tickets_size()) {
    out.push_back(absl::StrCat("the report shows ", claimed.tickets_size(), " tickets, ",
                               follows.tickets_size(), " follow"));
    return;
  }
  for (int i = 0; i < follows.tickets_size(); ++i) {
    const v1::TicketOutcome& c = claimed.tickets(i);
    const v1::TicketOutcome& f = follows.tickets(i);
    if (CanonicalBytes(c) == CanonicalBytes(f)) continue;
    out.push_back(absl::StrCat("ticket ", f.ticket_id(), " is shown as ", Word(c.outcome()), ", ",
                               Word(f.outcome()), " follows, or its wording differs"));
  }
}

void Compare(const v1::Verdict& claimed, const v1::Verdict& follows,
             std::vector<std::string>& out) {
  if (claimed.outcome() != follows.outcome()) {
    out.push_back(absl::StrCat("the report claims ", Word(claimed.outcome()), ", ",
                               Word(follows.outcome()), " follows from its figures"));
  }
  if (claimed.summary() != follows.summary()) {
    out.push_back("the summary is not the one that follows");
  }
  CompareGates(claimed, follows, out);
  CompareTickets(claimed, follows, out);
  if (out.empty() && CanonicalBytes(claimed) != CanonicalBytes(follows)) {
    out.push_back("the verdict holds something that does not follow");
  }
}

}  // namespace

absl::StatusOr<v1::VerificationReport> BuildReport(std::string_view measurements,
                                                   const v1::VerdictPolicy& policy,
                                                   absl::Time now) {
  v1::Measurements decoded;
  if (!ParseBytes(measurements, &decoded)) return Malformed("these bytes are no Measurements");
  LETHE_ASSIGN_OR_RETURN(v1::Verdict verdict, ComputeVerdict(decoded, policy));
  v1::VerificationReport report;
  report.set_version(kReportVersion);
  report.set_report_id(Sha256Hex(measurements));
  report.set_measurements(measurements.data(), measurements.size());
  report.set_policy(CanonicalBytes(WithDefaults(policy)));
  *report.mutable_verdict() = std::move(verdict);
  const int64_t nanoseconds = absl::ToUnixNanos(now);
  report.mutable_create_time()->set_seconds(absl::ToUnixSeconds(now));
  report.mutable_create_time()->set_nanos(
      static_cast<int32_t>(nanoseconds - absl::ToUnixSeconds(now) * 1000000000));
  return report;
}

absl::StatusOr<ReportCheck> CheckReport(const v1::VerificationReport& report) {
  if (report.version() > kReportVersion) {
    return Error(absl::StatusCode::kUnimplemented, "REPORT_VERSION_UNKNOWN",
                 "the report is of a newer version; check it with a newer Lethe",
                 {{"version", absl::StrCat(report.version())}});
  }
  if (report.version() < 1) return Malformed("the report names no version");
  ReportCheck check;
  if (!ParseBytes(report.measurements(), &check.measurements)) {
    return Malformed("the report's measurements cannot be decoded");
  }
  if (!ParseBytes(report.policy(), &check.policy)) {
    return Malformed("the report's policy cannot be decoded");
  }
  LETHE_ASSIGN_OR_RETURN(check.verdict, ComputeVerdict(check.measurements, check.policy));
  check.policy = WithDefaults(std::move(check.policy));
  const std::string id = Sha256Hex(report.measurements());
  if (report.report_id() != id) {
    check.differences.push_back(
        absl::StrCat("the report's id is not the SHA-256 of its measurements, ", id));
  }
  Compare(report.verdict(), check.verdict, check.differences);
  return check;
}

absl::StatusOr<v1::VerificationReport> ParseReport(std::string_view file_content) {
  v1::VerificationReport report;
  const size_t first = file_content.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && file_content[first] == '{') {
    namespace pb = google::protobuf;
    pb::util::JsonParseOptions options;
    options.ignore_unknown_fields = true;  // `lethe report show --output json` adds decoded copies
    const pb::util::Status parsed = pb::util::JsonStringToMessage(
        pb::StringPiece(file_content.data(), file_content.size()), &report, options);
    if (!parsed.ok()) return Malformed("the file is not a VerificationReport in JSON");
  } else if (!ParseBytes(file_content, &report)) {
    return Malformed("the file is not a VerificationReport");
  }
  if (report.measurements().empty()) return Malformed("the file holds no measurements");
  return report;
}

std::string ReportDigest(const v1::VerificationReport& report) {
  return Sha256Hex(CanonicalBytes(report));
}

}  // namespace lethe
