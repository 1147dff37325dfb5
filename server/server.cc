#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/service_type.h>
#include <prometheus/exposer.h>
#include <prometheus/text_serializer.h>

#include <atomic>
#include <filesystem>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/log.h"
#include "engine/catalog.h"
#include "evidence/verdict.h"
#include "server/core.h"
#include "server/deletion_service.h"
#include "server/dispatcher.h"
#include "server/folder_keeper.h"
#include "server/model_service.h"
#include "server/observer.h"
#include "server/rpc/keep_polling.h"
#include "server/upkeep.h"
#include "server/verifier_service.h"
#include "server/work_service.h"
#include "storage/model_folders.h"
#include "storage/vault.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBackgroundQueue = 4'096;
constexpr size_t kDigestQueue = 256;
constexpr size_t kTokenizersKept = 16;

std::vector<std::string> AttackNames() {
  std::vector<std::string> names;
  for (const AttackEntry& entry : Attacks()) names.emplace_back(entry.name);
  return names;
}

// Settings of gRPC that are one for the process.
void InitGrpcOnce() {
  static std::once_flag once;
  std::call_once(once, [] {
    grpc::EnableDefaultHealthCheckService(true);
    InstallProtobufLog();
  });
}

absl::Status MakeFolder(const fs::path& folder) {
  std::error_code ec;
  fs::create_directories(folder, ec);
  if (!ec) return absl::OkStatus();
  return Error(absl::StatusCode::kUnavailable, "FILE_ERROR",
               absl::StrCat("cannot create ", folder.string(), ": ", ec.message()));
}

absl::StatusOr<std::unique_ptr<prometheus::Exposer>> StartExposer(const std::string& address,
                                                                  const Metrics& metrics) {
  try {
    auto exposer = std::make_unique<prometheus::Exposer>(address, 2);
    exposer->RegisterCollectable(metrics.registry());
    return exposer;
  } catch (const std::exception&) {
    return Error(absl::StatusCode::kUnavailable, "LISTEN_FAILED",
                 absl::StrCat("cannot listen on metrics_address ", address, ": is it in use?"));
  }
}

}  // namespace

// Members in the order in which they are built; they go in the opposite order.
class Server::Parts {
 public:
  Parts(const ServerConfig& config, const ServerWorld& world)
      : config_(config),
        world_(world),
        metrics_(AttackNames()),
        tokenizers_(config.model_folder, kTokenizersKept),
        calls_(config.max_calls_in_flight),
        polls_(config.max_polls),
        watches_(config.max_watchers),
        audit_calls_(config.max_audits) {
    if (world_.clock == nullptr) world_.clock = SystemClock();
    if (world_.random == nullptr) world_.random = SecureRandom();
  }

  ~Parts() { Drain(); }

  absl::Status Start() {
    InitGrpcOnce();
    LETHE_RETURN_IF_ERROR(OpenStore());
    FillCore();
    keeper_ = std::make_unique<FolderKeeper>(store_.get(), config_.model_folder, audits_.get());
    audits_->OnOver([keeper = keeper_.get()](const ModelId& model) { keeper->Schedule(model); });
    dispatcher_ = std::make_unique<Dispatcher>(&core_);
    observer_ = std::make_unique<ServerObserver>(&core_, dispatcher_.get(), keeper_.get(),
                                                 [this] { SetServing(false); });
    LETHE_RETURN_IF_ERROR(Recover());
    upkeep_ = std::make_unique<Upkeep>(&core_, dispatcher_.get(), keeper_.get());
    LETHE_RETURN_IF_ERROR(Listen());
    upkeep_->Tick();
    if (world_.own_upkeep) upkeep_->Start();
    return WritePortFile();
  }

  void Drain() {
    if (drained_.exchange(true) || grpc_ == nullptr) {
      StopUpkeep();
      return;
    }
    LogInfo("draining");
    SetServing(false);
    dispatcher_->Drain();
    hub_.EndAll(ServerDraining());
    audits_->EndAll(ServerDraining());
    // Calls are still taken while load balancers learn that this server is going.
    absl::SleepFor(config_.drain_delay);
    for (CallGate* gate : {&calls_, &polls_, &watches_, &audit_calls_}) gate->Close();
    const bool idle = calls_.WaitUntilEmpty(config_.drain_grace);
    if (!idle) LogWarning("calls were cut off", {{"calls", calls_.inside()}});
    keep_polling_.reset();
    grpc_->Shutdown(std::chrono::system_clock::now() +
                    absl::ToChronoMilliseconds(idle ? absl::Seconds(2) : absl::ZeroDuration()));
    grpc_->Wait();
    StopUpkeep();
    LogInfo("drained");
  }

  void StopUpkeep() {
    if (upkeep_ != nullptr) upkeep_->Stop();
    if (store_ != nullptr && observer_ != nullptr && observing_) {
      store_->RemoveObserver(observer_.get());
      observing_ = false;
    }
  }

  absl::Status OpenStore() {
    const fs::path data(config_.data_folder);
    LETHE_RETURN_IF_ERROR(MakeFolder(data));
    LETHE_RETURN_IF_ERROR(MakeFolder(config_.model_folder));
    LETHE_ASSIGN_OR_RETURN(
        vault_,
        storage::Vault::Open(config_.key_file, {.create = true, .data_folder = data / "store"},
                             world_.random));
    storage::StoreOptions options{.clock = world_.clock, .vault = vault_.get()};
    options.rules.judge = &ComputeVerdict;
    options.rules.max_losses = static_cast<int32_t>(config_.worker_loss_limit);
    options.rules.max_retries = static_cast<int32_t>(config_.infrastructure_retry_limit);
    options.rules.backoff_first = config_.retry_base;
    options.rules.backoff_most = config_.retry_cap;
    options.rules.request_keep = config_.request_id_retention;
    LETHE_ASSIGN_OR_RETURN(
        store_, storage::OpenRocksStore({.folder = data / "store", .env = world_.env}, options));
    return absl::OkStatus();
  }

  void FillCore() {
    pages_ = std::make_unique<PageTokens>(vault_->BodyDigest("lethe page tokens"));
    background_ = std::make_unique<Background>(static_cast<int>(config_.background_threads),
                                               kBackgroundQueue);
    digests_ =
        std::make_unique<Background>(static_cast<int>(config_.background_threads), kDigestQueue);
    core_.config = &config_;
    core_.clock = world_.clock;
    core_.random = world_.random;
    core_.identity = &identity_;
    core_.metrics = &metrics_;
    core_.store = store_.get();
    core_.vault = vault_.get();
    core_.models = &models_;
    core_.tokenizers = &tokenizers_;
    corpora_ = std::make_unique<OpenCorpora>(config_.model_folder, vault_.get());
    core_.corpora = corpora_.get();
    audits_ = std::make_unique<AuditHub>(&config_, world_.clock, &metrics_);
    core_.hub = &hub_;
    core_.audits = audits_.get();
    core_.pages = pages_.get();
    core_.background = background_.get();
    core_.digests = digests_.get();
    core_.calls = &calls_;
    core_.polls = &polls_;
    core_.watches = &watches_;
    core_.audit_calls = &audit_calls_;
  }

  // What a crash may have left between the store and the rest of the world.
  absl::Status Recover() {
    LETHE_RETURN_IF_ERROR(models_.Load(*store_));
    const storage::Totals totals = store_->Totals();
    const auto queued = totals.tickets.find(storage::TicketState::kQueued);
    core_.waiting_tickets = queued == totals.tickets.end() ? 0 : queued->second;
    const auto repaired =
        storage::ReconcileAllModelFolders(store_.get(), config_.model_folder, "server");
    if (!repaired.ok()) {
      LogError("model folders could not be brought in line",
               {{"reason", ErrorReason(repaired.status())}});
    } else if (repaired->current_switched || repaired->folders_removed > 0) {
      LogInfo("model folders repaired", {{"current_switched", repaired->current_switched},
                                         {"folders_removed", repaired->folders_removed}});
    }
    metrics_.store_writable->Set(1);
    store_->AddObserver(observer_.get());
    observing_ = true;
    return store_->Commit(storage::RestartLeases{.actor = "server", .ttl = config_.lease_duration})
        .status();
  }

  absl::Status Listen() {
    static std::once_flag reflection;
    if (config_.reflection) {
      std::call_once(reflection,
                     [] { grpc::reflection::InitProtoReflectionServerBuilderPlugin(); });
    }
    services_.push_back(MakeDeletionService(&core_));
    services_.push_back(MakeModelService(&core_));
    services_.push_back(MakeWorkService(&core_, dispatcher_.get()));
    services_.push_back(MakeVerifierService(&core_, dispatcher_.get()));
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(config_.listen_address, grpc::InsecureServerCredentials(), &port);
    for (const auto& service : services_) builder.RegisterService(service.get());
    builder.SetMaxReceiveMessageSize(static_cast<int>(config_.max_message_bytes));
    builder.SetMaxSendMessageSize(-1);
    // Two servers on one port would share its calls without a word.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    // Workers behind a NAT keep their long polls alive with a ping every 30 s.
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 20'000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    grpc_ = builder.BuildAndStart();
    if (grpc_ == nullptr) {
      return Error(absl::StatusCode::kUnavailable, "LISTEN_FAILED",
                   absl::StrCat("cannot listen on listen_address ", config_.listen_address,
                                ": is it in use?"));
    }
    port_ = port;
    keep_polling_ = std::make_unique<KeepPolling>(grpc_.get());
    if (!config_.metrics_address.empty()) {
      LETHE_ASSIGN_OR_RETURN(exposer_, StartExposer(config_.metrics_address, metrics_));
      const std::vector<int> ports = exposer_->GetListeningPorts();
      metrics_port_ = ports.empty() ? 0 : ports.front();
    }
    // Under the lock: a store that fails from here on is told after this, and has the last word.
    absl::MutexLock lock(&health_mu_);
    health_ = grpc_->GetHealthCheckService();
    ReportServing(store_->Health().ok());
    return absl::OkStatus();
  }

  absl::Status WritePortFile() const {
    LogInfo(
        "listening",
        {{"port", port_}, {"metrics_port", metrics_port_}, {"address", config_.listen_address}});
    if (config_.port_file.empty()) return absl::OkStatus();
    return WriteFileAtomically(config_.port_file, absl::StrCat(port_, " ", metrics_port_, "\n"));
  }

  void SetServing(bool serving) {
    absl::MutexLock lock(&health_mu_);
    if (health_ != nullptr) ReportServing(serving);
  }

  void ReportServing(bool serving) ABSL_EXCLUSIVE_LOCKS_REQUIRED(health_mu_) {
    for (const char* service : {"", "lethe.v1.DeletionService", "lethe.v1.ModelService",
                                "lethe.v1.WorkService", "lethe.v1.VerifierService"}) {
      health_->SetServingStatus(service, serving);
    }
  }

  const ServerConfig config_;
  ServerWorld world_;
  LocalIdentity identity_;
  Metrics metrics_;
  TicketHub hub_;
  ModelIndex models_;
  TokenizerCache tokenizers_;
  std::unique_ptr<OpenCorpora> corpora_;
  CallGate calls_, polls_, watches_, audit_calls_;
  std::unique_ptr<AuditHub> audits_;
  std::unique_ptr<storage::Vault> vault_;
  std::unique_ptr<PageTokens> pages_;
  Core core_;
  // Below: threads that use the parts above, and the store that calls back into them.
  std::unique_ptr<ServerObserver> observer_;
  std::unique_ptr<storage::TicketStore> store_;
  std::unique_ptr<FolderKeeper> keeper_;
  std::unique_ptr<Dispatcher> dispatcher_;
  std::unique_ptr<Background> background_;
  std::unique_ptr<Background> digests_;
  std::unique_ptr<Upkeep> upkeep_;
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<grpc::Server> grpc_;
  std::unique_ptr<KeepPolling> keep_polling_;
  std::unique_ptr<prometheus::Exposer> exposer_;
  absl::Mutex health_mu_;
  grpc::HealthCheckServiceInterface* health_ ABSL_GUARDED_BY(health_mu_) = nullptr;
  int port_ = 0;
  int metrics_port_ = 0;
  bool observing_ = false;
  std::atomic<bool> drained_{false};
};

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Server::~Server() = default;

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerConfig& config,
                                                      const ServerWorld& world) {
  auto parts = std::make_unique<Parts>(config, world);
  LETHE_RETURN_IF_ERROR(parts->Start());
  return std::unique_ptr<Server>(new Server(std::move(parts)));
}

int Server::port() const { return parts_->port_; }
int Server::metrics_port() const { return parts_->metrics_port_; }
std::string Server::MetricsText() const {
  return prometheus::TextSerializer().Serialize(parts_->metrics_.registry()->Collect());
}
void Server::Drain() { parts_->Drain(); }
void Server::Tick() { parts_->upkeep_->Tick(); }
storage::TicketStore* Server::store() { return parts_->store_.get(); }
void Server::WaitForFolders() { parts_->keeper_->WaitUntilIdle(); }

}  // namespace lethe
