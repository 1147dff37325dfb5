// A whole server in the test's process: real RocksDB in a temporary folder, real gRPC on a free
// port, a clock that the test moves, and a worker whose results the test supplies. The server
// cannot tell it from one with a GPU.
//
//   Harness h;
//   h.RegisterReadyModel("m");
//   v1::Ticket ticket = h.File("r-1", "m", {1, 2, 3});
//   v1::Job job = h.Acquire(v1::JOB_KIND_UNLEARN);
//   h.CompleteUnlearn(job);
//   h.CompleteVerify(h.Acquire(v1::JOB_KIND_VERIFY), Harness::kForgotten);
//
// Helpers that cannot go on add a test failure and return what they have.
#ifndef LETHE_TESTS_SERVER_HARNESS_H_
#define LETHE_TESTS_SERVER_HARNESS_H_

#include <grpcpp/grpcpp.h>
#include <lethe/v1/deletion_service.grpc.pb.h>
#include <lethe/v1/model_service.grpc.pb.h>
#include <lethe/v1/verifier_service.grpc.pb.h>
#include <lethe/v1/work_service.grpc.pb.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "server/config.h"
#include "server/server.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_folder.h"

namespace lethe {

// What a call's status says in machine words.
struct CallError {
  grpc::StatusCode code = grpc::StatusCode::OK;
  std::string reason;
  std::map<std::string, std::string> metadata;
  bool has_retry = false;
  std::string field;  // of BadRequest: the first, and all
  std::vector<std::string> fields;
};
CallError ErrorOf(const grpc::Status& status);

class Harness {
 public:
  using Change = std::function<void(ServerConfig&)>;
  explicit Harness(Change change = nullptr, ServerWorld world = {});
  ~Harness();

  // Ends the server (drained) and starts another on the same folders.
  void Restart();
  void Stop();

  FakeClock clock;
  ServerConfig config;
  std::unique_ptr<Server> server;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::DeletionService::Stub> deletion;
  std::unique_ptr<v1::ModelService::Stub> models;
  std::unique_ptr<v1::WorkService::Stub> work;
  std::unique_ptr<v1::VerifierService::Stub> verifier;

  std::filesystem::path root() const { return folder_.path(); }

  // Every call of a test ends: contexts have a deadline.
  static void Prepare(grpc::ClientContext& context);

  // Source folder, data sets, and the request that registers them. Writes them on the first call.
  v1::RegisterModelRequest ModelRequest(const std::string& model_id);
  // Registers and prepares; 40 tokens of vocabulary beyond the tokenizer's are unused.
  v1::Model RegisterReadyModel(const std::string& model_id, const v1::ModelPolicy& policy = {});

  v1::CreateTicketRequest TicketRequest(const std::string& request_id, const std::string& model_id,
                                        const std::vector<int32_t>& ids);
  v1::Ticket File(const std::string& request_id, const std::string& model_id,
                  const std::vector<int32_t>& ids = {5, 6, 7, 8});
  v1::Ticket Get(const std::string& ticket_id);

  // A job of this kind, or one without an id when there is none.
  v1::Job Acquire(v1::JobKind kind, absl::Duration wait = absl::ZeroDuration(),
                  const std::string& worker = "w-1");
  grpc::Status CompletePrepare(const v1::Job& job);
  // What CompletePrepare says of the model's costs; cleared: a worker that does not measure them.
  std::optional<v1::ModelCosts> costs = SomeCosts();
  static v1::ModelCosts SomeCosts();
  grpc::Status CompleteUnlearn(const v1::Job& job, bool write_folder = true);
  enum Score { kForgotten, kRemembered };
  grpc::Status CompleteVerify(const v1::Job& job, Score score);
  grpc::Status Fail(const v1::Job& job, v1::FailureCause cause, const std::string& reason);

  // What a verifier measures: forgotten text that looks like control, or as it was before.
  v1::Measurements Measure(const v1::Job& job, Score score) const;

  // Every record of the store, as text: equal dumps are equal stores.
  std::string Dump();
  // What /metrics shows, and one sample of it ("" when there is none).
  std::string Metrics();
  std::string Metric(const std::string& series);
  // Where `current` of a model points.
  std::string Current(const std::string& model_id);

  const std::string& tokenizer_json() const { return tokenizer_json_; }

 private:
  void Start();

  TempFolder folder_;
  ServerWorld world_;
  std::string tokenizer_json_;
};

inline constexpr int32_t kVocabulary = 320;
inline constexpr int32_t kContext = 64;

}  // namespace lethe

#endif  // LETHE_TESTS_SERVER_HARNESS_H_
