#include "client/retry.h"

#include "base/status.h"
#include "gtest/gtest.h"
#include "tests/support/seeded_random.h"

namespace lethe {
namespace {

TEST(ShouldRetry, Table) {
  using Code = absl::StatusCode;
  struct Row {
    Code code;
    const char* reason;
    bool safe, unsafe;
    bool retry_info = false;
  };
  const Row kRows[] = {
      {Code::kUnavailable, "NOT_REACHABLE", true, false},
      {Code::kUnavailable, "SERVER_DRAINING", true, true},
      // The sync failed: what the call asked for may be on disk.
      {Code::kUnavailable, "STORE_READ_ONLY", true, false},
      {Code::kResourceExhausted, "TOO_MANY_CALLS", true, true, true},
      {Code::kResourceExhausted, "QUOTA", false, false},
      {Code::kCancelled, "", true, false},
      {Code::kDeadlineExceeded, "NO_ANSWER", true, false},
      {Code::kInvalidArgument, "NO_TARGETS", false, false},
      {Code::kNotFound, "TICKET_NOT_FOUND", false, false},
      {Code::kAborted, "LEASE_LOST", false, false},
      {Code::kAborted, "ETAG_MISMATCH", false, false},
      {Code::kFailedPrecondition, "WRONG_STATE", false, false},
      {Code::kAlreadyExists, "REQUEST_ID_REUSED", false, false},
      {Code::kPermissionDenied, "", false, false},
      {Code::kUnimplemented, "", false, false},
      {Code::kInternal, "", false, false},
  };
  for (const Row& row : kRows) {
    absl::Status status =
        *row.reason ? Error(row.code, row.reason, "") : absl::Status(row.code, "");
    if (row.retry_info) status.SetPayload("lethe/retry-delay-ms", absl::Cord("100"));
    EXPECT_EQ(ShouldRetry(status, Repeat::kSafe), row.safe) << status;
    EXPECT_EQ(ShouldRetry(status, Repeat::kUnsafe), row.unsafe) << status;
  }
}

TEST(Backoff, IsUniformBelowABoundThatDoublesUpToTheLongest) {
  SeededRandom random(TestSeed(7));
  const RetryPolicy policy = {.first_pause = absl::Milliseconds(100),
                              .longest_pause = absl::Milliseconds(400)};
  const absl::Duration bounds[] = {absl::Milliseconds(100), absl::Milliseconds(200),
                                   absl::Milliseconds(400), absl::Milliseconds(400)};
  std::vector<absl::Duration> sums(4), longest(4);
  const int rounds = 2000;
  for (int round = 0; round < rounds; ++round) {
    Backoff backoff(policy, &random);
    for (int i = 0; i < 4; ++i) {
      const absl::Duration pause = backoff.Next(absl::UnavailableError(""));
      ASSERT_GE(pause, absl::ZeroDuration());
      ASSERT_LT(pause, bounds[i]);
      sums[i] += pause;
      longest[i] = std::max(longest[i], pause);
    }
  }
  for (int i = 0; i < 4; ++i) {
    // Mean of 2,000 uniform draws: half the bound, standard error 0.65 % of the bound; five of
    // them.
    EXPECT_NEAR(absl::FDivDuration(sums[i] / rounds, bounds[i]), 0.5, 0.033);
    EXPECT_GT(absl::FDivDuration(longest[i], bounds[i]), 0.95);
  }
}

TEST(Backoff, TheServersWishIsAFloor) {
  SeededRandom random(1);
  Backoff backoff({.first_pause = absl::Milliseconds(1)}, &random);
  absl::Status status = absl::ResourceExhaustedError("");
  status.SetPayload("lethe/retry-delay-ms", absl::Cord("1500"));
  EXPECT_EQ(backoff.Next(status), absl::Milliseconds(1500));
}

TEST(Backoff, BeginsAgainAfterReset) {
  SeededRandom random(3);
  Backoff backoff({.first_pause = absl::Milliseconds(1), .longest_pause = absl::Hours(1)}, &random);
  for (int i = 0; i < 20; ++i) backoff.Next(absl::UnavailableError(""));
  backoff.Reset();
  EXPECT_LT(backoff.Next(absl::UnavailableError("")), absl::Milliseconds(1));
}

}  // namespace
}  // namespace lethe
