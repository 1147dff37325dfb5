// The contract of TicketStore, as a suite that every driver passes.
//
//   INSTANTIATE_TEST_SUITE_P(Memory, StoreConformance,
//                            testing::Values(StoreMaker{"memory", MakeMemory}));
//   INSTANTIATE_TEST_SUITE_P(Rocks, DurableConformance, ...);   // if it keeps its data
//
// Decisions are shared by all drivers and have tests of their own; here it is
// what a driver stores and how it lists it.
#ifndef LETHE_TESTS_SUPPORT_STORE_CONFORMANCE_H_
#define LETHE_TESTS_SUPPORT_STORE_CONFORMANCE_H_

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/blocking_counter.h"
#include "base/status.h"
#include "tests/support/store_world.h"
#include "tests/support/temp_folder.h"

namespace lethe::storage {

struct StoreMaker {
  friend void PrintTo(const StoreMaker& maker, std::ostream* out) { *out << maker.name; }
  std::string name;
  // A store in `folder`; that of a durable driver shows what was written there before.
  std::function<std::unique_ptr<TicketStore>(const std::filesystem::path& folder,
                                             const StoreOptions& options)>
      make;
};

class StoreConformance : public testing::TestWithParam<StoreMaker> {
 protected:
  StoreConformance() : key_random_(5) {
    vault_ = Vault::Open(folder_ / "key", {.create = true}, &key_random_).value();
    Open();
  }
  ~StoreConformance() override {
    EXPECT_EQ(world_->Fsck(), "");
    ExpectLiveIndexAgrees();
  }

  void Open() {
    StoreOptions options{.clock = &clock_, .vault = vault_.get()};
    options.rules.judge = JudgeForTest;
    world_.reset();
    store_.reset();
    store_ = GetParam().make(folder_ / "store", options);
    world_ = std::make_unique<World>(store_.get(), vault_.get(), &clock_, seed_++);
  }

  std::vector<std::string> Ids(const TicketPage& page) {
    std::vector<std::string> ids;
    for (const TicketRecord& t : page.tickets) ids.push_back(t.ticket_id());
    return ids;
  }

  // What the memory index says is what the records say.
  void ExpectLiveIndexAgrees() {
    std::map<TicketState, int64_t> counts;
    std::map<std::string, std::map<uint64_t, std::string>> waiting;
    auto snapshot = store_->Snapshot();
    ASSERT_TRUE(snapshot
                    ->ForEachTicket([&](const std::string& id, const TicketRecord& t) {
                      const auto state = static_cast<TicketState>(t.state());
                      ++counts[state];
                      if (state == TicketState::kQueued && !t.held()) {
                        waiting[t.model_id()][t.queue_seq()] = id;
                      }
                      return absl::OkStatus();
                    })
                    .ok());
    for (const auto& [state, count] : store_->Totals().tickets) EXPECT_EQ(count, counts[state]);
    size_t queues = 0;
    for (const ModelQueue& queue : store_->Work(1 << 20).queues) {
      ++queues;
      std::vector<std::string> want, got;
      for (const auto& [seq, id] : waiting[queue.model.value]) want.push_back(id);
      for (const WaitingTicket& t : queue.head) got.push_back(t.id.value);
      EXPECT_EQ(got, want);
      EXPECT_EQ(queue.waiting, static_cast<int64_t>(want.size()));
    }
    EXPECT_EQ(queues, waiting.size());
  }

  TempFolder folder_;
  SeededRandom key_random_;
  FakeClock clock_;
  uint64_t seed_ = 1;
  std::unique_ptr<Vault> vault_;
  std::unique_ptr<TicketStore> store_;
  std::unique_ptr<World> world_;
};

TEST_P(StoreConformance, AnEmptyStoreIsEmpty) {
  auto snapshot = store_->Snapshot();
  EXPECT_TRUE(snapshot->ListTickets({})->tickets.empty());
  EXPECT_TRUE(snapshot->ListModels({}, 10)->empty());
  EXPECT_TRUE(snapshot->AuditLeaves({}, 10)->empty());
  EXPECT_EQ(snapshot->Counters()->audit_size(), 0u);
  EXPECT_EQ(ErrorReason(snapshot->GetModel(ModelId{"m"}).status()), "MODEL_NOT_FOUND");
  EXPECT_EQ(ErrorReason(snapshot->GetJob(JobId{"j"}).status()), "JOB_NOT_FOUND");
  EXPECT_EQ(ErrorReason(snapshot->GetReport("r").status()), "REPORT_NOT_FOUND");
  EXPECT_FALSE(snapshot->FindRequest("r")->has_value());
  EXPECT_FALSE(store_->Totals().oldest_waiting.has_value());
}

TEST_P(StoreConformance, TicketsAreListedNewestFirstPageByPage) {
  const ModelId m = world_->ReadyModel("m"), n = world_->ReadyModel("n");
  std::vector<std::string> all, of_n, cancelled;
  for (int i = 0; i < 23; ++i) {
    clock_.Advance(absl::Seconds(1));
    const TicketId id = world_->File(i % 3 == 0 ? n : m);
    all.insert(all.begin(), id.value);
    if (i % 3 == 0) of_n.insert(of_n.begin(), id.value);
    if (i % 5 == 0) {
      world_->Must(CancelTicket{"a", id});
      cancelled.insert(cancelled.begin(), id.value);
    }
  }
  const auto pages = [&](TicketQuery query) {
    std::vector<std::string> ids;
    for (int guard = 0; guard < 100; ++guard) {
      absl::StatusOr<TicketPage> page = store_->Snapshot()->ListTickets(query);
      EXPECT_TRUE(page.ok()) << page.status();
      EXPECT_LE(page->tickets.size(), static_cast<size_t>(query.limit));
      for (std::string& id : Ids(*page)) ids.push_back(std::move(id));
      if (!page->next.has_value()) return ids;
      EXPECT_FALSE(page->tickets.empty());
      query.after = page->next;
    }
    ADD_FAILURE() << "pages do not end";
    return ids;
  };
  for (int limit : {1, 4, 23, 100}) {
    EXPECT_EQ(pages({.limit = limit}), all);
    EXPECT_EQ(pages({.model = n, .limit = limit}), of_n);
    EXPECT_EQ(pages({.states = {TicketState::kCancelled}, .limit = limit}), cancelled);
    EXPECT_EQ(pages({.states = {TicketState::kCancelled, TicketState::kQueued}, .limit = limit}),
              all);
  }
  EXPECT_TRUE(pages({.model = n, .states = {TicketState::kFailed}}).empty());
  EXPECT_TRUE(pages({.model = ModelId{"nobody"}}).empty());
  // A model whose name begins with another's is another model.
  world_->ReadyModel("mm");
  EXPECT_TRUE(pages({.model = ModelId{"mm"}}).empty());
}

// Tickets of one moment (a batch) have one create time: the id
// decides, and no page drops or repeats one.
TEST_P(StoreConformance, ABatchOfOneMomentIsPagedWithoutGaps) {
  const ModelId m = world_->ReadyModel("m");
  CreateTickets batch{.actor = "a"};
  for (int i = 0; i < 50; ++i) {
    batch.tickets.push_back(world_->Draft(m, "r" + std::to_string(i), "x"));
  }
  world_->Must(batch);
  std::vector<std::string> seen;
  TicketQuery query{.limit = 7};
  do {
    const TicketPage page = *store_->Snapshot()->ListTickets(query);
    for (std::string& id : Ids(page)) seen.push_back(std::move(id));
    query.after = page.next;
  } while (query.after.has_value());
  EXPECT_EQ(seen.size(), 50u);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), 50u);
}

TEST_P(StoreConformance, ASnapshotStandsStill) {
  const ModelId m = world_->ReadyModel("m");
  const TicketId id = world_->File(m);
  auto before = store_->Snapshot();
  world_->Must(CancelTicket{"a", id});
  world_->File(m);
  EXPECT_EQ(before->GetTicket(id)->state(), static_cast<int>(TicketState::kQueued));
  EXPECT_TRUE(before->FindPayload(id)->has_value());
  EXPECT_EQ(before->ListTickets({})->tickets.size(), 1u);
  auto after = store_->Snapshot();
  EXPECT_EQ(after->GetTicket(id)->state(), static_cast<int>(TicketState::kCancelled));
  EXPECT_FALSE(after->FindPayload(id)->has_value());
  EXPECT_FALSE(after->FindKey(id)->has_value());
  EXPECT_EQ(after->ListTickets({})->tickets.size(), 2u);
}

TEST_P(StoreConformance, ModelsByNameCheckpointsNewestFirst) {
  for (const char* name : {"zeta", "alpha", "mid"}) world_->ReadyModel(name);
  auto names = [&](const std::string& after, int limit) {
    std::string joined;
    const auto models = store_->Snapshot()->ListModels(ModelId{after}, limit);
    for (const ModelRecord& m : *models) {
      joined += m.model_id() + " ";
    }
    return joined;
  };
  EXPECT_EQ(names("", 10), "alpha mid zeta ");
  EXPECT_EQ(names("", 2), "alpha mid ");
  EXPECT_EQ(names("alpha", 10), "mid zeta ");

  const ModelId m{"mid"};
  std::vector<std::string> made = {world_->Model(m).current_checkpoint_id()};
  for (int i = 0; i < 3; ++i) {
    clock_.Advance(absl::Seconds(1));
    const TicketId id = world_->File(m);
    world_->Verify(world_->Lease(world_->Unlearn(world_->Lease(world_->Form(m, {id})))), {});
    made.insert(made.begin(), world_->Model(m).current_checkpoint_id());
  }
  const auto listed = [&](const std::string& after, int limit) {
    std::vector<std::string> ids;
    const auto page = store_->Snapshot()->ListCheckpoints(m, CheckpointId{after}, limit);
    for (const CheckpointRecord& c : *page) {
      ids.push_back(c.checkpoint_id());
    }
    return ids;
  };
  EXPECT_EQ(listed("", 10), made);
  EXPECT_EQ(listed("", 2), (std::vector<std::string>{made[0], made[1]}));
  EXPECT_EQ(listed(made[1], 10), (std::vector<std::string>{made[2], made[3]}));
  EXPECT_EQ(ErrorReason(store_->Snapshot()->ListCheckpoints(m, CheckpointId{"c"}, 1).status()),
            "CHECKPOINT_NOT_FOUND");
}

TEST_P(StoreConformance, JobsByStateAndTheWorkView) {
  const ModelId m = world_->ReadyModel("m"), n = world_->ReadyModel("n");
  const JobRecord a = world_->Form(m, {world_->File(m)});
  const JobRecord b = world_->Form(n, {world_->File(n)});
  EXPECT_EQ(store_->Snapshot()->JobsInState(JobState::kReady)->size(), 2u);
  world_->Lease(b);
  const auto leased = *store_->Snapshot()->JobsInState(JobState::kLeased);
  ASSERT_EQ(leased.size(), 1u);
  EXPECT_EQ(leased[0].value, b.job_id());
  const WorkView work = store_->Work(1);
  ASSERT_EQ(work.ready.size(), 1u);
  EXPECT_EQ(work.ready[0].job_id(), a.job_id());
  EXPECT_EQ(work.leased.at(0).job_id(), b.job_id());
  const Totals totals = store_->Totals();
  EXPECT_EQ(totals.open_jobs.at({JobKind::kUnlearn, JobState::kLeased}), 1);
  EXPECT_EQ(totals.tickets.at(TicketState::kUnlearning), 2);
  EXPECT_TRUE(totals.nearest_due.has_value());
}

TEST_P(StoreConformance, TheLogIsDenseAndKeepsItsBytes) {
  const ModelId m = world_->ReadyModel("m");
  for (int i = 0; i < 10; ++i) world_->File(m);
  const uint64_t size = store_->Snapshot()->Counters()->audit_size();
  const auto all = *store_->Snapshot()->AuditLeaves(LogIndex{0}, 1000);
  ASSERT_EQ(all.size(), size);
  EXPECT_EQ(store_->Snapshot()->AuditLeaves(LogIndex{3}, 4).value(),
            std::vector<std::string>(all.begin() + 3, all.begin() + 7));
  EXPECT_TRUE(store_->Snapshot()->AuditLeaves(LogIndex{size}, 4)->empty());
  world_->File(m);
  EXPECT_EQ(store_->Snapshot()->AuditLeaves(LogIndex{0}, static_cast<int>(size)).value(), all);
}

TEST_P(StoreConformance, ManyThreadsOneOrder) {
  const ModelId m = world_->ReadyModel("m");
  constexpr int kThreads = 8, kEach = 25;
  std::vector<std::vector<NewTicket>> drafts(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    for (int i = 0; i < kEach; ++i) {
      // Every request id is used by two threads: one ticket each must come of it.
      drafts[t].push_back(world_->Draft(m, std::to_string(t / 2) + "/" + std::to_string(i), "x"));
    }
  }
  absl::BlockingCounter answers(kThreads * kEach);
  std::vector<std::thread> threads;
  for (auto& mine : drafts) {
    threads.emplace_back([&, this] {
      for (NewTicket& draft : mine) {
        store_->Post(CreateTickets{"a", {std::move(draft)}}, [&](absl::StatusOr<Receipt> r) {
          EXPECT_TRUE(r.ok()) << r.status();
          // Whoever is told may read it.
          EXPECT_TRUE(store_->Snapshot()->GetTicket(TicketId{r->tickets[0].ticket_id()}).ok());
          answers.DecrementCount();
        });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  answers.Wait();
  EXPECT_EQ(store_->Totals().tickets[TicketState::kQueued], kThreads * kEach / 2);
}

// For drivers that keep what was written.
class DurableConformance : public StoreConformance {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(DurableConformance);

TEST_P(DurableConformance, EverythingIsThereAfterReopening) {
  const ModelId m = world_->ReadyModel("m");
  const TicketId waiting = world_->File(m), ended = world_->File(m), busy = world_->File(m);
  world_->Must(CancelTicket{"a", ended});
  const JobRecord job = world_->Lease(world_->Form(m, {busy}));
  const auto leaves = *store_->Snapshot()->AuditLeaves(LogIndex{0}, 1000);
  const std::string ticket = world_->Ticket(waiting).SerializeAsString();
  Open();
  EXPECT_EQ(*store_->Snapshot()->AuditLeaves(LogIndex{0}, 1000), leaves);
  EXPECT_EQ(world_->Ticket(waiting).SerializeAsString(), ticket);
  EXPECT_TRUE(store_->Snapshot()->FindPayload(waiting)->has_value());
  EXPECT_FALSE(store_->Snapshot()->FindPayload(ended)->has_value());
  ExpectLiveIndexAgrees();
  ASSERT_EQ(store_->Work(9).leased.size(), 1u);
  // The fence goes on where it was: no lease of before can be mistaken for a new one.
  world_->Must(FailJob{"w", JobId{job.job_id()}, Fence{job.fence()}, FailureCause::kDrained, "X"});
  EXPECT_GT(world_->Lease(job).fence(), job.fence());
}

}  // namespace lethe::storage

#endif  // LETHE_TESTS_SUPPORT_STORE_CONFORMANCE_H_
