// Power cuts under load: whatever was acknowledged is there afterwards, and the folder is sound.
// The same with sync off must lose something, else this test could not fail.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <thread>

#include "base/status.h"
#include "storage/fsck.h"
#include "storage/rocksdb/rocks_driver.h"
#include "tests/support/faulty_fs.h"
#include "tests/support/store_world.h"
#include "tests/support/temp_folder.h"

namespace lethe::storage {
namespace {

constexpr int kRounds = 20, kCutsARound = 11, kThreads = 4, kInFlight = 16, kTicketsAThread = 150;

// What callers were told, and until when they post.
class Acknowledged {
 public:
  void Tell(const std::string& ticket, TicketState state) {
    absl::MutexLock lock(&mu_);
    tickets_[ticket] = state;
    ++count_;
  }
  std::map<std::string, TicketState> tickets() {
    absl::MutexLock lock(&mu_);
    return tickets_;
  }
  int64_t count() {
    absl::MutexLock lock(&mu_);
    return count_;
  }
  void AwaitCount(int64_t count) {
    absl::MutexLock lock(&mu_);
    const auto there = [&] { return count_ >= count || finished_ == kThreads; };
    mu_.Await(absl::Condition(&there));
  }
  void Finish() {
    absl::MutexLock lock(&mu_);
    ++finished_;
  }

 private:
  absl::Mutex mu_;
  std::map<std::string, TicketState> tickets_ ABSL_GUARDED_BY(mu_);
  int64_t count_ ABSL_GUARDED_BY(mu_) = 0;
  int finished_ ABSL_GUARDED_BY(mu_) = 0;
};

// One caller: files tickets, several in flight, and withdraws every third.
void Call(TicketStore* store, World* world, const ModelId& model, Acknowledged* acknowledged) {
  absl::Mutex mu;
  int in_flight = 0;
  const auto begin = [&] {
    absl::MutexLock lock(&mu);
    const auto room = [&] { return in_flight < kInFlight; };
    mu.Await(absl::Condition(&room));
    ++in_flight;
  };
  const auto end = [&] {
    absl::MutexLock lock(&mu);
    --in_flight;
  };
  for (int i = 0; i < kTicketsAThread; ++i) {
    NewTicket draft = world->Draft(model, NewId(world->random(), 'r'), "text");
    begin();
    store->Post(CreateTickets{"a", {std::move(draft)}}, [&, i](absl::StatusOr<Receipt> r) {
      ASSERT_TRUE(r.ok()) << r.status();
      const std::string id = r->tickets[0].ticket_id();
      acknowledged->Tell(id, TicketState::kQueued);
      if (i % 3 != 0) return end();
      store->Post(CancelTicket{"a", TicketId{id}}, [&, id](absl::StatusOr<Receipt> cancelled) {
        ASSERT_TRUE(cancelled.ok()) << cancelled.status();
        acknowledged->Tell(id, TicketState::kCancelled);
        end();
      });
    });
  }
  absl::MutexLock lock(&mu);
  const auto idle = [&] { return in_flight == 0; };
  mu.Await(absl::Condition(&idle));
  acknowledged->Finish();
}

// Looks at the folder that a cut left. The number of acknowledged tickets that it lost.
int Lost(const std::filesystem::path& folder, const std::map<std::string, TicketState>& told) {
  auto open = OpenRocksReadOnly(folder, nullptr);
  if (!open.ok()) return static_cast<int>(told.size()) + 1;
  const RocksReader snapshot((*open)->db(), (*open)->families(), false);
  int lost = 0;
  for (const auto& [id, state] : told) {
    const absl::StatusOr<TicketRecord> ticket = snapshot.GetTicket(TicketId{id});
    const bool payload = snapshot.FindPayload(TicketId{id})->has_value();
    if (!ticket.ok()) {
      ++lost;
    } else if (state ==
               TicketState::kCancelled) {  // a withdrawal that was told must not come undone
      lost += ticket->state() != static_cast<int>(state) || payload;
    } else {  // a later withdrawal may have reached the disk before its caller heard of it
      lost += ticket->state() != static_cast<int>(TicketState::kCancelled) && !payload;
    }
  }
  return lost;
}

struct Outcome {
  int cuts = 0, lost = 0, unsound = 0;
  int64_t dropped = 0, told = 0;
};

Outcome RunRounds(bool sync, int rounds) {
  const uint64_t seed = TestSeed(20261123);
  std::printf("seed %llu (LETHE_TEST_SEED)\n", static_cast<unsigned long long>(seed));
  Outcome outcome;
  for (int round = 0; round < rounds; ++round) {
    TempFolder temp;
    FakeClock clock;
    SeededRandom key_random(seed + round);
    auto vault = Vault::Open(temp / "key", {.create = true}, &key_random).value();
    auto fs = std::make_shared<LossyFs>(seed + round);
    auto env = rocksdb::NewCompositeEnv(fs);
    StoreOptions options{.clock = &clock, .vault = vault.get()};
    options.rules.judge = JudgeForTest;
    auto opened = OpenRocksStore(
        {.folder = temp / "store", .env = env.get(), .sync_for_test = sync}, options);
    EXPECT_TRUE(opened.ok()) << opened.status();
    std::unique_ptr<TicketStore> store = *std::move(opened);
    World world(store.get(), vault.get(), &clock, seed + 100 * round);
    const ModelId model = world.ReadyModel("m");
    Acknowledged acknowledged;
    std::vector<std::unique_ptr<World>> worlds;
    std::vector<std::thread> callers;
    for (int t = 0; t < kThreads; ++t) {
      worlds.push_back(
          std::make_unique<World>(store.get(), vault.get(), &clock, seed + 100 * round + 1 + t));
      callers.emplace_back(Call, store.get(), worlds.back().get(), model, &acknowledged);
    }
    std::mt19937_64 random(seed + round);
    int64_t next = 0;
    for (int cut = 0; cut < kCutsARound; ++cut) {
      next += static_cast<int64_t>(random() % 40);
      acknowledged.AwaitCount(next);
      const auto told = acknowledged.tickets();  // before the cut: all of these must survive it
      fs->CutInNextSync(temp / "store", temp / "cut");
      // More answers than can have been in flight: by then a sync
      // has been, unless the callers have finished.
      acknowledged.AwaitCount(acknowledged.count() + kThreads * kInFlight + 1);
      if (!fs->CutDone()) fs->Cut(temp / "store", temp / "cut");
      outcome.dropped += fs->dropped();
      outcome.told += static_cast<int64_t>(told.size());
      outcome.lost += Lost(temp / "cut", told);
      const absl::StatusOr<FsckReport> report = Fsck({.store = temp / "cut"});
      outcome.unsound += !report.ok() || !report->Clean();
      if (sync) {
        EXPECT_TRUE(report.ok() && report->Clean())
            << (report.ok() ? report->Text() : report.status().ToString());
      }
      ++outcome.cuts;
    }
    for (std::thread& caller : callers) caller.join();
    // The machine comes up again for good: the store opens for writing and goes on.
    fs->Cut(temp / "store", temp / "cut");
    const auto told = acknowledged.tickets();
    store.reset();
    auto again = OpenRocksStore({.folder = temp / "cut"}, options);
    if (!sync) continue;
    EXPECT_TRUE(again.ok()) << again.status();
    World after(again->get(), vault.get(), &clock, seed + 100 * round + 50);
    after.File(model);
    EXPECT_EQ(after.Fsck(), "");
    EXPECT_EQ((*again)->Totals().tickets[TicketState::kQueued] +
                  (*again)->Totals().tickets[TicketState::kCancelled],
              static_cast<int64_t>(told.size()) + 1);
  }
  std::printf(
      "%d cuts, %lld acknowledged tickets looked up, %lld bytes dropped, %d lost, %d unsound\n",
      outcome.cuts, static_cast<long long>(outcome.told), static_cast<long long>(outcome.dropped),
      outcome.lost, outcome.unsound);
  return outcome;
}

TEST(PowerCut, AcknowledgedTicketsSurvive) {
  const Outcome outcome = RunRounds(/*sync=*/true, kRounds);
  EXPECT_GE(outcome.cuts, 200);
  EXPECT_GT(outcome.told, 1000);
  EXPECT_GT(outcome.dropped, 0);  // the cuts did cut something
  EXPECT_EQ(outcome.lost, 0);
  EXPECT_EQ(outcome.unsound, 0);
}

TEST(PowerCut, WithoutSyncTicketsAreLost) {
  const Outcome outcome = RunRounds(/*sync=*/false, 2);
  EXPECT_GT(outcome.lost, 0);
}

}  // namespace
}  // namespace lethe::storage
