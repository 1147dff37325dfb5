// A disk that takes no more: the server says so, refuses every write, goes on reading, and after a
// restart nothing that it acknowledged is missing. Once with a full disk below the store, once with
// a process that may write no further.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "absl/strings/str_cat.h"
#include "tests/server/harness.h"
#include "tests/server/server_process.h"
#include "tests/support/faulty_fs.h"
#include "tests/support/health_watch.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using grpc::StatusCode;
using ::testing::HasSubstr;

// Files tickets until one is refused.
struct Filed {
  std::vector<std::string> acknowledged;
  grpc::Status refused;
};
Filed FileUntilRefused(v1::DeletionService::Stub* stub, Harness& h, const std::string& prefix) {
  Filed filed;
  for (int i = 0; i < 10'000 && filed.refused.ok(); ++i) {
    v1::Ticket ticket;
    grpc::ClientContext context;
    Harness::Prepare(context);
    filed.refused = stub->CreateTicket(
        &context, h.TicketRequest(absl::StrCat(prefix, i), "m", {1, 2, 3}), &ticket);
    if (filed.refused.ok()) filed.acknowledged.push_back(ticket.ticket_id());
  }
  return filed;
}

TEST(DiskFull, IsToldAndLosesNothing) {
  const auto disk = std::make_shared<FullDiskFs>();
  const auto env = rocksdb::NewCompositeEnv(disk);
  ServerWorld world;
  world.env = env.get();
  Harness h(nullptr, world);
  h.RegisterReadyModel("m");
  HealthWatch health(h.channel);
  EXPECT_EQ(health.Next(), HealthWatch::kServing);
  disk->SetFree(20'000);
  const Filed filed = FileUntilRefused(h.deletion.get(), h, "r-");
  EXPECT_GT(filed.acknowledged.size(), 1u);
  EXPECT_EQ(ErrorOf(filed.refused).code, StatusCode::UNAVAILABLE);
  EXPECT_EQ(ErrorOf(filed.refused).reason, "DISK_FULL");
  EXPECT_THAT(filed.refused.error_message(), HasSubstr("free space, then restart the server"));
  EXPECT_EQ(health.Next(), HealthWatch::kNotServing);
  EXPECT_EQ(h.Metric("lethe_store_writable"), "0");
  // Space alone does not heal it: what reached the disk is unknown until the store is opened again.
  disk->SetFree(int64_t{1} << 60);
  EXPECT_EQ(ErrorOf(FileUntilRefused(h.deletion.get(), h, "again-").refused).reason, "DISK_FULL");
  for (const std::string& id : filed.acknowledged) {
    EXPECT_EQ(h.Get(id).state(), v1::TICKET_STATE_QUEUED);
  }

  h.Restart();
  HealthWatch after(h.channel);
  EXPECT_EQ(after.Next(), HealthWatch::kServing);
  for (const std::string& id : filed.acknowledged) {
    EXPECT_EQ(h.Get(id).state(), v1::TICKET_STATE_QUEUED);
  }
  h.File("later", "m");
}

class WriteLimit : public ServerProcess {
 protected:
  // The program on the folders of a harness that has ended.
  std::unique_ptr<v1::DeletionService::Stub> Serve(const Harness& h) {
    fs::remove(folder / "ports");
    Start({"--data-folder", h.config.data_folder, "--model-folder", h.config.model_folder,
           "--key-file", h.config.key_file, "--listen-address", "127.0.0.1:0", "--metrics-address",
           "none", "--port-file", (folder / "ports").string(), "--log-level", "error"});
    const std::string address = absl::StrCat("127.0.0.1:", Ports().first);
    channel_ = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
    return v1::DeletionService::NewStub(channel_);
  }
  // From now on no file of the program grows beyond its log plus so many bytes.
  void LimitWrites(const Harness& h, rlim_t more) {
    rlim_t size = 0;
    for (const auto& entry : fs::directory_iterator(fs::path(h.config.data_folder) / "store")) {
      if (entry.path().extension() == ".log") size = std::max<rlim_t>(size, entry.file_size());
    }
    const rlimit limit{size + more, size + more};
    ASSERT_EQ(prlimit(pid, RLIMIT_FSIZE, &limit, nullptr), 0);
  }
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(WriteLimit, IsToldAndLosesNothing) {
  Harness h;
  h.RegisterReadyModel("m");
  h.Stop();
  auto deletion = Serve(h);
  HealthWatch health(channel_);
  EXPECT_EQ(health.Next(), HealthWatch::kServing);
  LimitWrites(h, 20'000);
  const Filed filed = FileUntilRefused(deletion.get(), h, "r-");
  EXPECT_GT(filed.acknowledged.size(), 1u);
  EXPECT_EQ(ErrorOf(filed.refused).code, StatusCode::UNAVAILABLE);
  EXPECT_EQ(ErrorOf(filed.refused).reason, "STORE_READ_ONLY");
  EXPECT_THAT(filed.refused.error_message(), HasSubstr("until the server is restarted"));
  EXPECT_EQ(health.Next(), HealthWatch::kNotServing);
  kill(pid, SIGTERM);
  EXPECT_EQ(Exit(), 0) << Slurp(folder / "err");
  EXPECT_THAT(Slurp(folder / "err"), HasSubstr("STORE_READ_ONLY"));

  deletion = Serve(h);
  for (const std::string& id : filed.acknowledged) {
    v1::GetTicketRequest request;
    request.set_ticket_id(id);
    v1::Ticket ticket;
    grpc::ClientContext context;
    Harness::Prepare(context);
    EXPECT_TRUE(deletion->GetTicket(&context, request, &ticket).ok());
    EXPECT_EQ(ticket.state(), v1::TICKET_STATE_QUEUED);
  }
  kill(pid, SIGTERM);
  EXPECT_EQ(Exit(), 0);
}

}  // namespace
}  // namespace lethe
