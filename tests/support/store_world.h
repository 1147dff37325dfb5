// World: drives a TicketStore through the way of a ticket, as server, worker and verifier would.
// For tests of storage and of what stands on it.
//
//   World world(store.get(), vault.get(), &clock, /*seed=*/1);
//   ModelId model = world.ReadyModel("m");
//   TicketId ticket = world.File(model);
//   JobRecord verify = world.Unlearn(world.Lease(world.Form(model, {ticket})));
//   world.Verify(world.Lease(verify), {});            // everything passed
//
// A step that the store refuses fails the test. The judge is JudgeForTest: what the world writes
// into the measurements is the verdict.
#ifndef LETHE_TESTS_SUPPORT_STORE_WORLD_H_
#define LETHE_TESTS_SUPPORT_STORE_WORLD_H_

#include <set>
#include <string>
#include <vector>

#include "lethe/v1/report.pb.h"
#include "storage/ticket_store.h"
#include "storage/vault.h"
#include "tests/support/fake_clock.h"
#include "tests/support/seeded_random.h"

namespace lethe::storage {

// Reads the verdict that World::Measure wrote: a stand-in for evidence/, which has its own tests.
absl::StatusOr<lethe::v1::Verdict> JudgeForTest(const lethe::v1::Measurements& measurements,
                                                const lethe::v1::VerdictPolicy& policy);

// What a verification is to find.
struct Finds {
  std::set<TicketId> not_forgotten;
  bool collateral = false;  // each ticket passes, but something else suffered
};

class World {
 public:
  World(TicketStore* store, const Vault* vault, FakeClock* clock, uint64_t seed);

  TicketStore* store() { return store_; }
  FakeClock* clock() { return clock_; }
  Random* random() { return &random_; }

  // Commit that must succeed.
  Receipt Must(Command command);

  static lethe::v1::ModelPolicy Policy(int rungs = 2, int max_tickets = 32);
  ModelId ReadyModel(const std::string& name) { return ReadyModel(name, Policy()); }
  ModelId ReadyModel(const std::string& name, const lethe::v1::ModelPolicy& policy);

  NewTicket Draft(const ModelId& model, const std::string& request_id, const std::string& text);
  TicketId File(const ModelId& model, const std::string& text = "text to forget");

  FormUnlearnJob FormCommand(const ModelId& model, const std::vector<TicketId>& tickets,
                             int rung = 0);
  // The model's corpus READY, with so many shards.
  void ReadyCorpus(const ModelId& model, int shards);
  RegisterCorpus CorpusCommand(const ModelId& model, int shards);
  // The corpus read; the TRAIN jobs are READY.
  CompleteIngest IngestCommand(const JobRecord& leased, int shards);
  CompleteTrain TrainCommand(const JobRecord& leased);
  CompleteRetrain RetrainCommand(const JobRecord& leased);
  // A ticket of which the corpus holds something.
  TicketId FileInCorpus(const ModelId& model, const std::vector<int32_t>& shards);

  JobRecord Form(const ModelId& model, const std::vector<TicketId>& tickets, int rung = 0);
  JobRecord Lease(const JobRecord& job, absl::Duration ttl = absl::Seconds(60));
  CompleteUnlearn UnlearnCommand(const JobRecord& leased);
  JobRecord Unlearn(const JobRecord& leased);  // the VERIFY job
  CompleteVerify VerifyCommand(const JobRecord& leased, const Finds& found);
  Receipt Verify(const JobRecord& leased, const Finds& found);

  TicketRecord Ticket(const TicketId& id);
  TicketState State(const TicketId& id);
  JobRecord Job(const std::string& id);
  ModelRecord Model(const ModelId& id);
  CheckpointRecord Checkpoint(const std::string& id);
  // "" when fsck finds nothing in the records.
  std::string Fsck();

 private:
  TicketStore* const store_;
  const Vault* const vault_;
  FakeClock* const clock_;
  SeededRandom random_;
};

}  // namespace lethe::storage

#endif  // LETHE_TESTS_SUPPORT_STORE_WORLD_H_
