// Random commands against the memory store and RocksDB at once: the same
// answers, the same log, sound after each step.
#include <gtest/gtest.h>

#include <random>

#include "base/model_layout.h"
#include "base/status.h"
#include "storage/command/draft.h"
#include "storage/fsck.h"
#include "tests/support/faulty_fs.h"
#include "tests/support/store_world.h"
#include "tests/support/temp_folder.h"

namespace lethe::storage {
namespace {

constexpr int kSequences = 40, kSteps = 300, kShards = 3;

std::string Show(const absl::StatusOr<Receipt>& receipt) {
  if (!receipt.ok()) {
    std::string text =
        ErrorReason(receipt.status()) + " " + std::string(receipt.status().message());
    for (const auto& [key, value] : ErrorDetails(receipt.status())) text += " " + key + "=" + value;
    return text;
  }
  std::string text = std::to_string(receipt->count) + (receipt->repeated ? " again" : "") +
                     (receipt->directive == Directive::kCancel ? " cancel" : "");
  for (const TicketRecord& t : receipt->tickets) text += "\n" + Serialize(t);
  for (const JobRecord& j : receipt->jobs) text += "\n" + Serialize(j);
  if (receipt->job) text += "\n" + Serialize(*receipt->job);
  if (receipt->model) text += "\n" + Serialize(*receipt->model);
  if (receipt->checkpoint) text += "\n" + Serialize(*receipt->checkpoint);
  return text;
}

// Draws commands that fit the state of the memory store often, and fit it not at all now and then.
class Player {
 public:
  Player(TicketStore* memory, TicketStore* rocks, const Vault* vault, FakeClock* clock,
         uint64_t seed)
      : memory_(memory),
        rocks_(rocks),
        clock_(clock),
        world_(memory, vault, clock, seed),
        random_(seed) {}

  void Step() {
    if (Pick(4) == 0) clock_->Advance(absl::Seconds(Pick(40)));
    const Command command = Draw();
    const absl::StatusOr<Receipt> a = memory_->Commit(command), b = rocks_->Commit(command);
    ASSERT_EQ(Show(a), Show(b)) << "command " << command.index();
    a.ok() ? ++accepted_[command.index()] : ++refused_[command.index()];
  }
  const std::map<size_t, int>& accepted() const { return accepted_; }
  const std::map<size_t, int>& refused() const { return refused_; }

 private:
  size_t Pick(size_t below) { return random_() % below; }
  JobId NewJob() { return JobId{NewId(world_.random(), 'j')}; }
  template <typename T>
  T AnyOf(const std::vector<T>& list, const T& otherwise) {
    return list.empty() ? otherwise : list[Pick(list.size())];
  }
  TicketId AnyTicket(std::optional<TicketState> state = std::nullopt) {
    std::vector<TicketId> ids;
    TicketQuery query{.limit = 40};
    if (Pick(3) == 0) query.states = {static_cast<TicketState>(1 + Pick(9))};
    if (state.has_value() && Pick(2) == 0) query.states = {*state};
    const auto page = memory_->Snapshot()->ListTickets(query);
    for (const TicketRecord& t : page->tickets) ids.push_back(TicketId{t.ticket_id()});
    return AnyOf(ids, TicketId{"t-none"});
  }
  ModelId AnyModel() { return ModelId{"m" + std::to_string(Pick(3))}; }
  // Mostly an open one, with its own fence; sometimes a past one, or a wrong fence.
  JobRecord AnyJob() {
    std::vector<JobRecord> jobs;
    const auto snapshot = memory_->Snapshot();
    for (JobState state : kJobStates) {
      const int copies = IsFinal(state) ? 1 : 8;
      const auto ids = snapshot->JobsInState(state);
      for (const JobId& id : *ids) {
        for (int i = 0; i < copies; ++i) jobs.push_back(*snapshot->GetJob(id));
      }
    }
    JobRecord job = AnyOf(jobs, JobRecord());
    if (Pick(20) == 0) job.set_fence(job.fence() + 1 - Pick(3));
    return job;
  }
  // Mostly one in that state.
  CheckpointId AnyCheckpoint(const ModelId& model, CheckpointState state) {
    std::vector<CheckpointId> ids;
    const auto snapshot = memory_->Snapshot();
    const auto all = *snapshot->CheckpointsOf(model);
    for (const CheckpointId& id : all) {
      const bool fits = snapshot->GetCheckpoint(id)->state() == static_cast<int>(state);
      for (int i = 0; i < (fits ? 8 : 1); ++i) ids.push_back(id);
    }
    return AnyOf(ids, CheckpointId{"c-none"});
  }
  std::optional<uint64_t> Version(const TicketId& id) {
    if (Pick(3) != 0) return std::nullopt;
    return world_.Ticket(id).version() + (Pick(5) == 0);
  }

  Command Draw() {
    switch (Pick(16)) {
      case 0:
        return DrawModel();
      case 1:
      case 2:
      case 3: {
        CreateTickets c{.actor = "a"};
        const ModelId model = AnyModel();
        for (size_t i = 0; i <= Pick(3); ++i) {
          c.tickets.push_back(
              world_.Draft(model, std::to_string(Pick(400)), Pick(10) == 0 ? "other" : "text"));
          TouchCorpus(model, &c.tickets.back());
        }
        return c;
      }
      case 4:
        return DrawTicket();
      case 5:
        return DrawForm();
      case 6:
        return ExpireLeases{"server"};
      case 7:
        return PurgeRequests{"server"};
      default:
        return DrawJob();
    }
  }
  // Of a model that has one: often something of it, and now and then of a shard that it lacks.
  void TouchCorpus(const ModelId& model, NewTicket* ticket) {
    const int shards = world_.Model(model).corpus().shards_size();
    if (shards == 0 || Pick(3) == 0) return;
    for (int shard = 0; shard < shards; ++shard) {
      if (Pick(2) == 0) ticket->corpus_shards.push_back(shard);
    }
    if (Pick(20) == 0) ticket->corpus_shards.push_back(shards);
    ticket->corpus_sequences = static_cast<int32_t>(ticket->corpus_shards.size());
  }

  Command DrawModel() {
    const ModelId model = AnyModel();
    const Generation seen{world_.Model(model).generation()};
    switch (Pick(6)) {
      case 0:
      case 1: {
        lethe::v1::ModelPolicy policy = World::Policy(1 + Pick(3), 1 + Pick(6));
        policy.set_approval_required(Pick(4) == 0);
        return RegisterModel{
            .actor = "a", .model = model, .job = NewJob(), .policy = policy.SerializeAsString()};
      }
      case 2:
        return RollbackModel{"a",  model,    AnyCheckpoint(model, CheckpointState::kRetired),
                             seen, "reason", Pick(2) == 0};
      case 3:
        return PromoteCheckpoint{.actor = "a",
                                 .model = model,
                                 .checkpoint = AnyCheckpoint(model, CheckpointState::kCandidate),
                                 .expected_generation = seen,
                                 .reason = "reason",
                                 .retrain_job = NewJob()};
      case 4:
        return world_.CorpusCommand(model, kShards);
      default:
        return MarkFolderRemoved{"a", AnyCheckpoint(model, CheckpointState::kRejected)};
    }
  }
  Command DrawTicket() {
    const TicketId id = AnyTicket();
    switch (Pick(8)) {
      case 0:
        return CancelTicket{"a", id, Version(id)};
      case 1:
        return HoldTicket{"a", id, Version(id)};
      case 2:
      case 3:
        return ReleaseTicket{"a", id, Version(id)};
      case 4:
        return ApproveTicket{"a", id, Version(id)};
      case 5:
        return DenyTicket{"a", id, Version(id), static_cast<int32_t>(3 + Pick(5))};
      case 6:
        return ExtendTicket{"a", id, Version(id), clock_->Now() + absl::Hours(24 * Pick(90)),
                            "why"};
      default:
        return RetryTicket{"a", AnyTicket(TicketState::kFailed)};
    }
  }
  Command DrawForm() {
    const WorkView work = memory_->Work(8);
    if (work.queues.empty()) return RestartLeases{"server", absl::Seconds(60)};
    const ModelQueue& queue = work.queues[Pick(work.queues.size())];
    std::vector<TicketId> tickets;
    const int rung = queue.head[0].rung;
    const int cap = queue.head[0].batch_cap;
    for (const WaitingTicket& t : queue.head) {
      if (t.rung != rung && Pick(10) != 0) continue;
      if (cap > 0 && static_cast<int>(tickets.size()) >= cap) break;
      tickets.push_back(t.id);
      if (Pick(3) == 0) break;
    }
    return world_.FormCommand(queue.model, tickets, rung);
  }
  Command DrawJob() {
    const JobRecord job = AnyJob();
    const JobId id{job.job_id()};
    const Fence fence{job.fence()};
    const auto state = static_cast<JobState>(job.state());
    if (state == JobState::kReady) return LeaseJob{"w", id, "w", absl::Seconds(30 + Pick(60))};
    if (Pick(6) == 0) return Heartbeat{"w", id, fence, absl::Seconds(60)};
    if (Pick(8) == 0) {
      return FailJob{"w", id, fence, static_cast<FailureCause>(1 + Pick(4)), "BROKEN"};
    }
    switch (static_cast<JobKind>(job.kind())) {
      case JobKind::kUnlearn:
        return world_.UnlearnCommand(job);
      case JobKind::kVerify: {
        Finds finds{.collateral = Pick(6) == 0};
        for (const std::string& t : job.ticket_ids()) {
          if (Pick(4) == 0) finds.not_forgotten.insert(TicketId{t});
        }
        return world_.VerifyCommand(job, finds);
      }
      case JobKind::kIngest:
        return world_.IngestCommand(job, kShards);
      case JobKind::kTrain:
        return world_.TrainCommand(job);
      case JobKind::kRetrain:
        return world_.RetrainCommand(job);
      default:
        return CompletePrepare{.actor = "w", .job = id, .fence = fence, .digest = "digest"};
    }
  }

  TicketStore* const memory_;
  TicketStore* const rocks_;
  FakeClock* const clock_;
  World world_;
  std::mt19937_64 random_;
  std::map<size_t, int> accepted_, refused_;
};

TEST(Random, MemoryAndRocksDbAgreeAndStaySound) {
  const uint64_t seed = TestSeed(7);
  std::printf("seed %llu (LETHE_TEST_SEED)\n", static_cast<unsigned long long>(seed));
  std::map<size_t, int> accepted, refused;
  int64_t completed = 0;
  for (int sequence = 0; sequence < kSequences; ++sequence) {
    SCOPED_TRACE("sequence " + std::to_string(sequence));
    TempFolder temp;
    FakeClock clock;
    SeededRandom random(seed + sequence);
    auto vault = Vault::Open(temp / "key", {.create = true}, &random).value();
    StoreOptions options{.clock = &clock, .vault = vault.get()};
    options.rules.judge = JudgeForTest;
    options.rules.max_losses = 3;
    options.rules.max_retries = 2;
    options.rules.request_keep = absl::Hours(1);
    auto memory = OpenMemoryStore(options);
    // Nothing is cut here: it only spares thousands of real syncs.
    auto env = rocksdb::NewCompositeEnv(std::make_shared<LossyFs>(seed));
    const RocksOptions where{.folder = temp / "store", .env = env.get()};
    auto rocks = OpenRocksStore(where, options).value();
    Player player(memory.get(), rocks.get(), vault.get(), &clock, seed * 1000 + sequence);
    for (int step = 0; step < kSteps; ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      player.Step();
      const absl::StatusOr<FsckReport> report = FsckSnapshot(*memory->Snapshot());
      ASSERT_TRUE(report.ok()) << report.status();
      ASSERT_TRUE(report->Clean()) << report->Text();
      if (testing::Test::HasFailure()) return;
    }
    rocks.reset();
    const absl::StatusOr<FsckReport> report = Fsck({.store = temp / "store"});
    ASSERT_TRUE(report.ok() && report->Clean()) << report->Text();
    rocks = OpenRocksStore(where, options).value();
    EXPECT_EQ(*rocks->Snapshot()->AuditLeaves(LogIndex{0}, 1 << 20),
              *memory->Snapshot()->AuditLeaves(LogIndex{0}, 1 << 20));
    EXPECT_EQ(rocks->Totals().tickets, memory->Totals().tickets);
    completed += memory->Totals().tickets[TicketState::kCompleted];
    for (const auto& [kind, count] : player.accepted()) accepted[kind] += count;
    for (const auto& [kind, count] : player.refused()) refused[kind] += count;
  }
  // The sequences went everywhere: every command was accepted at least once, most were refused too.
  for (size_t kind = 0; kind < std::variant_size_v<Command> - 2;
       ++kind) {  // but the two of key rotation
    EXPECT_GT(accepted[kind], 0) << "command " << kind;
  }
  EXPECT_GT(refused.size(), std::variant_size_v<Command> / 2);
  EXPECT_GT(completed, 20);
}

}  // namespace
}  // namespace lethe::storage
