// The verifier hands in a report and the server's disk takes no more: a real one, below RocksDB and
// below the vault. The candidate is neither promoted nor rejected, no part of the report is there,
// and after a restart with room the same report decides.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/harness.h"
#include "tests/support/small_disk.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using grpc::StatusCode;

testing::Environment* const own_mounts = testing::AddGlobalTestEnvironment(new OwnMounts);

CallError ReportOf(Harness& h, const std::string& ticket, v1::VerificationReport* report) {
  v1::GetTicketReportRequest request;
  request.set_ticket_id(ticket);
  grpc::ClientContext context;
  Harness::Prepare(context);
  return ErrorOf(h.deletion->GetTicketReport(&context, request, report));
}

// By whether the report would promote the candidate or reject it.
class ReportOnAFullDisk : public testing::TestWithParam<Harness::Score> {};

TEST_P(ReportOnAFullDisk, DecidesNothing) {
  if (!OwnMounts::Allowed()) GTEST_SKIP() << OwnMounts::kWhyNot;
  SmallDisk disk(16 << 20);
  Harness h([&](ServerConfig& config) { config.data_folder = (disk.path() / "data").string(); });
  h.RegisterReadyModel("m");
  const std::string current = h.Current("m");
  const std::string ticket = h.File("r-1", "m").ticket_id();
  const v1::Job unlearn = h.Acquire(v1::JOB_KIND_UNLEARN);
  ASSERT_TRUE(h.CompleteUnlearn(unlearn).ok());
  const fs::path candidate = fs::path(h.config.model_folder) / unlearn.unlearn().output_folder();
  const v1::Job verify = h.Acquire(v1::JOB_KIND_VERIFY);

  const auto expect_undecided = [&] {
    EXPECT_EQ(h.Get(ticket).state(), v1::TICKET_STATE_VERIFYING);
    EXPECT_EQ(h.Current("m"), current);
    EXPECT_TRUE(fs::exists(candidate / "model.safetensors"));
    v1::VerificationReport none;
    EXPECT_EQ(ReportOf(h, ticket, &none).reason, "REPORT_NOT_FOUND");
  };
  disk.LeaveFree(0);
  const CallError full = ErrorOf(h.CompleteVerify(verify, GetParam()));
  EXPECT_EQ(full.code, StatusCode::UNAVAILABLE);
  EXPECT_EQ(full.reason, "DISK_FULL");
  expect_undecided();
  disk.MakeRoom();
  EXPECT_EQ(ErrorOf(h.CompleteVerify(verify, GetParam())).reason, "DISK_FULL");  // until a restart
  expect_undecided();

  h.Restart();
  expect_undecided();
  ASSERT_TRUE(h.CompleteVerify(verify, GetParam()).ok());
  v1::VerificationReport report;
  EXPECT_EQ(ReportOf(h, ticket, &report).code, StatusCode::OK);
  const bool passes = GetParam() == Harness::kForgotten;
  EXPECT_EQ(report.verdict().outcome() == v1::OUTCOME_PASS, passes);
  EXPECT_EQ(h.Get(ticket).state() == v1::TICKET_STATE_COMPLETED, passes);
  EXPECT_EQ(h.Current("m") != current, passes);
}

INSTANTIATE_TEST_SUITE_P(Verdict, ReportOnAFullDisk,
                         testing::Values(Harness::kForgotten, Harness::kRemembered));

}  // namespace
}  // namespace lethe
