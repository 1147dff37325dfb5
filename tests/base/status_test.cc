#include "base/status.h"

#include <gtest/gtest.h>

namespace lethe {
namespace {

TEST(Error, CarriesReasonAndMetadata) {
  const absl::Status status =
      Error(absl::StatusCode::kAborted, "LEASE_LOST", "the lease is gone", {{"job", "j-1"}});
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ErrorReason(status), "LEASE_LOST");
  EXPECT_EQ(ErrorDetails(status), (ErrorMetadata{{"job", "j-1"}}));
}

TEST(Error, AnnotateKeepsReason) {
  const absl::Status status =
      Annotate(Error(absl::StatusCode::kNotFound, "NO_FILE", "missing", {{"a", "b"}}), "loading");
  EXPECT_EQ(status.message(), "loading: missing");
  EXPECT_EQ(ErrorReason(status), "NO_FILE");
  EXPECT_EQ(ErrorDetails(status).size(), 1u);
  EXPECT_TRUE(Annotate(absl::OkStatus(), "x").ok());
}

TEST(Error, WithDetailsAddsAndReplaces) {
  const absl::Status status =
      WithDetails(Error(absl::StatusCode::kNotFound, "NO_FILE", "missing", {{"a", "b"}}),
                  {{"a", "c"}, {"line", "7"}});
  EXPECT_EQ(status.message(), "missing");
  EXPECT_EQ(ErrorReason(status), "NO_FILE");
  EXPECT_EQ(ErrorDetails(status), (ErrorMetadata{{"a", "c"}, {"line", "7"}}));
  EXPECT_TRUE(WithDetails(absl::OkStatus(), {{"a", "b"}}).ok());
}

absl::StatusOr<int> Half(int x) {
  if (x % 2) return Error(absl::StatusCode::kInvalidArgument, "ODD", "odd");
  return x / 2;
}
absl::StatusOr<int> Quarter(int x) {
  LETHE_ASSIGN_OR_RETURN(int half, Half(x));
  LETHE_ASSIGN_OR_RETURN(int quarter, Half(half));
  return quarter;
}
TEST(Macros, AssignOrReturn) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(ErrorReason(Quarter(6).status()), "ODD");
}

}  // namespace
}  // namespace lethe
