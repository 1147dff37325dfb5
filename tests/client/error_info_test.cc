#include "client/error_info.h"

#include "base/status.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"
#include "tests/support/grpc_test_server.h"

namespace lethe {
namespace {

TEST(FromGrpc, OkIsOk) { EXPECT_TRUE(FromGrpc(grpc::Status::OK).ok()); }

TEST(FromGrpc, ReasonMessageAndMetadataComeBack) {
  const absl::Status status = FromGrpc(WireError(
      grpc::StatusCode::ABORTED, "LEASE_LOST", "drop the work", {{"job", "j-1"}, {"fence", "7"}}));
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(status.message(), "drop the work");
  EXPECT_EQ(ErrorReason(status), "LEASE_LOST");
  EXPECT_EQ(ErrorDetails(status), (ErrorMetadata{{"job", "j-1"}, {"fence", "7"}}));
}

TEST(FromGrpc, FieldsBesideTheFirstAreInTheMetadata) {
  google::rpc::Status wire;
  google::rpc::ErrorInfo info;
  info.set_domain("lethe");
  info.set_reason("TARGET_EMPTY");
  (*info.mutable_metadata())["field"] = "targets[0]";
  wire.add_details()->PackFrom(info);
  google::rpc::BadRequest bad;
  for (const char* field : {"targets[0]", "targets[2].text", "field"}) {
    bad.add_field_violations()->set_field(field);
    bad.mutable_field_violations(bad.field_violations_size() - 1)->set_description("is wrong");
  }
  wire.add_details()->PackFrom(bad);
  EXPECT_EQ(ErrorDetails(FromGrpc(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "is empty",
                                               wire.SerializeAsString()))),
            (ErrorMetadata{{"field", "targets[0]"}, {"targets[2].text", "is wrong"}}));
}

TEST(FromGrpc, EveryCodeKeepsItsName) {
  // The names are the specification's; the numbers are nobody's business.
  const std::pair<grpc::StatusCode, const char*> kCodes[] = {
      {grpc::StatusCode::CANCELLED, "CANCELLED"},
      {grpc::StatusCode::UNKNOWN, "UNKNOWN"},
      {grpc::StatusCode::INVALID_ARGUMENT, "INVALID_ARGUMENT"},
      {grpc::StatusCode::DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"},
      {grpc::StatusCode::NOT_FOUND, "NOT_FOUND"},
      {grpc::StatusCode::ALREADY_EXISTS, "ALREADY_EXISTS"},
      {grpc::StatusCode::PERMISSION_DENIED, "PERMISSION_DENIED"},
      {grpc::StatusCode::RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED"},
      {grpc::StatusCode::FAILED_PRECONDITION, "FAILED_PRECONDITION"},
      {grpc::StatusCode::ABORTED, "ABORTED"},
      {grpc::StatusCode::OUT_OF_RANGE, "OUT_OF_RANGE"},
      {grpc::StatusCode::UNIMPLEMENTED, "UNIMPLEMENTED"},
      {grpc::StatusCode::INTERNAL, "INTERNAL"},
      {grpc::StatusCode::UNAVAILABLE, "UNAVAILABLE"},
      {grpc::StatusCode::DATA_LOSS, "DATA_LOSS"},
      {grpc::StatusCode::UNAUTHENTICATED, "UNAUTHENTICATED"},
  };
  for (const auto& [code, name] : kCodes) {
    EXPECT_EQ(absl::StatusCodeToString(FromGrpc(grpc::Status(code, "")).code()), name);
  }
  // A number that the enumeration can hold and has no name for.
  EXPECT_EQ(FromGrpc(grpc::Status(static_cast<grpc::StatusCode>(31), "")).code(),
            absl::StatusCode::kUnknown);
}

TEST(FromGrpc, ATransportErrorGetsAReason) {
  EXPECT_EQ(ErrorReason(FromGrpc(grpc::Status(grpc::StatusCode::UNAVAILABLE, "refused"))),
            "NOT_REACHABLE");
  EXPECT_EQ(ErrorReason(FromGrpc(grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, "late"))),
            "NO_ANSWER");
  EXPECT_EQ(ErrorReason(FromGrpc(grpc::Status(grpc::StatusCode::INTERNAL, "oh"))), "");
}

TEST(FromGrpc, AnotherDomainsReasonIsNotOurs) {
  google::rpc::ErrorInfo info;
  info.set_domain("example.org");
  info.set_reason("LEASE_LOST");
  google::rpc::Status wire;
  wire.add_details()->PackFrom(info);
  EXPECT_EQ(
      ErrorReason(FromGrpc(grpc::Status(grpc::StatusCode::ABORTED, "", wire.SerializeAsString()))),
      "");
}

TEST(FromGrpc, GarbageInTheDetailsIsIgnored) {
  const absl::Status status = FromGrpc(
      grpc::Status(grpc::StatusCode::NOT_FOUND, "no", std::string("\xff\x00\x12garbage", 10)));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ErrorReason(status), "");
}

TEST(RetryDelay, ComesFromRetryInfo) {
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(2);
  retry.mutable_retry_delay()->set_nanos(500'000'000);
  google::rpc::Status wire;
  wire.add_details()->PackFrom(retry);
  const absl::Status status =
      FromGrpc(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "", wire.SerializeAsString()));
  EXPECT_EQ(RetryDelay(status), absl::Milliseconds(2500));
  EXPECT_EQ(RetryDelay(absl::UnavailableError("")), std::nullopt);
}

}  // namespace
}  // namespace lethe
