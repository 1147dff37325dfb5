// Whose fault a failure is: every reason that the table names and every code that it falls back on,
// written down here a second time.
#include "workers/host/job_failure.h"

#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/device.h"
#include "engine/progress.h"
#include "gtest/gtest.h"

namespace lethe {
namespace {

constexpr v1::FailureCause kMethod = v1::FAILURE_CAUSE_METHOD;
constexpr v1::FailureCause kInput = v1::FAILURE_CAUSE_INPUT;
constexpr v1::FailureCause kInfrastructure = v1::FAILURE_CAUSE_INFRASTRUCTURE;
const std::vector<v1::JobKind> kKinds = {v1::JOB_KIND_PREPARE, v1::JOB_KIND_UNLEARN,
                                         v1::JOB_KIND_VERIFY,  v1::JOB_KIND_INGEST,
                                         v1::JOB_KIND_TRAIN,   v1::JOB_KIND_RETRAIN};

// A reason decides whatever code it came with, so each is tried with codes that would say something
// else.
TEST(JobFailure, AReasonOfTheTableDecidesAlone) {
  const std::map<std::string, v1::FailureCause> kReasons = {
      {"UNKNOWN_METHOD", kMethod},
      {"UNKNOWN_PRESET", kMethod},
      {"UNKNOWN_ATTACK", kMethod},
      {"BAD_PARAMETER", kMethod},
      {"RETAIN_NEEDED", kMethod},
      {"THRESHOLDS_NEEDED", kMethod},
      {"METHOD_DIVERGED", kMethod},
      {"UTILITY_LOST", kMethod},
      {"OUT_FOLDER_EXISTS", kInfrastructure},
      {"BASE_CHANGED", kInfrastructure},
      {"CANDIDATE_CHANGED", kInfrastructure},
      {"PATH_OUTSIDE", kInfrastructure},
      {"FILE_ERROR", kInfrastructure},
      {"DISK_FULL", kInfrastructure},
      {"OUT_OF_MEMORY", kInfrastructure},
      {"NO_CUDA", kInfrastructure},
      {"MODEL_NOT_FINITE", kInput},
      {"CANDIDATE_NOT_FINITE", kMethod},
      {"NOTHING_TO_ATTACK", kInput},
      {"TEACHERS_NEEDED", kMethod},
      {"NO_TEACHER_LEFT", kMethod},
      {"TEACHER_CHANGED", kInfrastructure},
      {"FORMAT_VERSION_UNKNOWN", kInfrastructure},
      {"SEQUENCE_UNKNOWN", kInput},
  };
  for (const auto& [reason, cause] : kReasons) {
    for (const absl::StatusCode code :
         {absl::StatusCode::kInvalidArgument, absl::StatusCode::kInternal,
          absl::StatusCode::kUnavailable, absl::StatusCode::kFailedPrecondition}) {
      for (const v1::JobKind kind : kKinds) {
        const JobFailure failure = FailureOf(Error(code, reason, "what happened"), kind);
        EXPECT_EQ(failure.cause, cause) << reason << " of " << absl::StatusCodeToString(code);
        EXPECT_EQ(failure.reason, reason);
        EXPECT_EQ(failure.message, "what happened");
      }
    }
  }
}

TEST(JobFailure, OtherwiseTheCodeDecides) {
  const std::map<absl::StatusCode, v1::FailureCause> kCodes = {
      {absl::StatusCode::kCancelled, kInfrastructure},
      {absl::StatusCode::kUnknown, kMethod},
      {absl::StatusCode::kInvalidArgument, kInput},
      {absl::StatusCode::kDeadlineExceeded, kInfrastructure},
      {absl::StatusCode::kNotFound, kInfrastructure},
      {absl::StatusCode::kAlreadyExists, kInfrastructure},
      {absl::StatusCode::kPermissionDenied, kInfrastructure},
      {absl::StatusCode::kResourceExhausted, kInfrastructure},
      {absl::StatusCode::kAborted, kInfrastructure},
      {absl::StatusCode::kOutOfRange, kInput},
      {absl::StatusCode::kUnimplemented, kInput},
      {absl::StatusCode::kInternal, kMethod},
      {absl::StatusCode::kUnavailable, kInfrastructure},
      {absl::StatusCode::kDataLoss, kInfrastructure},
      {absl::StatusCode::kUnauthenticated, kInfrastructure},
  };
  for (const auto& [code, cause] : kCodes) {
    for (const v1::JobKind kind : kKinds) {
      EXPECT_EQ(FailureOf(Error(code, "SOMETHING_NEW", ""), kind).cause, cause)
          << absl::StatusCodeToString(code);
    }
  }
}

// A checkpoint that cannot be used is the registration's fault in PREPARE; later it is what a
// method handed in.
TEST(JobFailure, APreconditionGoesByTheKindOfTheJob) {
  const absl::Status status = Error(absl::StatusCode::kFailedPrecondition, "BAD_CHECKPOINT", "");
  EXPECT_EQ(FailureOf(status, v1::JOB_KIND_PREPARE).cause, kInput);
  EXPECT_EQ(FailureOf(status, v1::JOB_KIND_INGEST).cause, kInput);
  EXPECT_EQ(FailureOf(status, v1::JOB_KIND_TRAIN).cause, kMethod);
  EXPECT_EQ(FailureOf(status, v1::JOB_KIND_UNLEARN).cause, kMethod);
  EXPECT_EQ(FailureOf(status, v1::JOB_KIND_VERIFY).cause, kMethod);
}

// The ladder has rungs without teachers; a ticket does not end because a teacher does not fit.
TEST(JobFailure, WhatIsWrongWithATeacherIsTheMethods) {
  for (const char* reason : {"TEACHER_CONTEXT_TOO_SHORT", "MODEL_NOT_FINITE"}) {
    const absl::Status status =
        Error(absl::StatusCode::kInvalidArgument, reason, "", {{"teacher", "2"}});
    EXPECT_EQ(FailureOf(status, v1::JOB_KIND_UNLEARN).cause, kMethod) << reason;
  }
  const absl::Status gone =
      Error(absl::StatusCode::kNotFound, "FILE_ERROR", "", {{"teacher", "2"}});
  EXPECT_EQ(FailureOf(gone, v1::JOB_KIND_UNLEARN).cause, kInfrastructure);
}

TEST(JobFailure, NamesTheLineThatACorpusCouldNotBeReadFor) {
  const ErrorMetadata place = {{"line", "5000000000"}, {"source", "3"}};
  const JobFailure failure = FailureOf(
      Error(absl::StatusCode::kInvalidArgument, "SUBJECT_MISSING", "", place), v1::JOB_KIND_INGEST);
  EXPECT_EQ(failure.cause, kInput);
  EXPECT_EQ(failure.line, 5000000000);
  EXPECT_EQ(failure.source, 3);
  // A disk that fills up while a line is read is not that line's fault.
  const absl::Status full = Error(absl::StatusCode::kResourceExhausted, "DISK_FULL", "", place);
  EXPECT_EQ(FailureOf(full, v1::JOB_KIND_INGEST).line, 0);
  // Nor do lines of other jobs' files belong to a corpus.
  const absl::Status holdout =
      Error(absl::StatusCode::kInvalidArgument, "LINE_MALFORMED", "", place);
  EXPECT_EQ(FailureOf(holdout, v1::JOB_KIND_PREPARE).line, 0);
}

// The server takes UPPER_SNAKE only.
TEST(JobFailure, AStatusWithoutAReasonIsNamedByItsCode) {
  EXPECT_EQ(FailureOf(absl::InternalError("a bug"), v1::JOB_KIND_UNLEARN).reason, "INTERNAL");
  EXPECT_EQ(FailureOf(absl::DataLossError(""), v1::JOB_KIND_UNLEARN).reason, "DATA_LOSS");
}

// Statuses as the engine itself makes them.
TEST(JobFailure, OfTheEnginesOwnStatuses) {
  const absl::Status stopped =
      Report([](const EngineProgress&) { return false; }, EngineProgress{});
  EXPECT_EQ(FailureOf(stopped, v1::JOB_KIND_UNLEARN).cause, kInfrastructure);
  EXPECT_EQ(FailureOf(stopped, v1::JOB_KIND_UNLEARN).reason, "STOPPED");
  const absl::Status odd = OpenDevice({.device = "abacus"}).status();
  EXPECT_EQ(FailureOf(odd, v1::JOB_KIND_UNLEARN).reason, "UNKNOWN_DEVICE");
}

}  // namespace
}  // namespace lethe
