// fsck finds what is wrong: every kind of damage is made by hand,
// in records and indexes, and must be named.
#include "storage/fsck.h"

#include <gmock/gmock.h>
#include <rocksdb/db.h>

#include "base/digest.h"
#include "base/status.h"
#include "lethe/v1/ticket.pb.h"
#include "storage/rocksdb/rocks_driver.h"
#include "tests/support/store_world.h"
#include "tests/support/temp_folder.h"

namespace lethe::storage {
namespace {

using testing::Contains;

// A store with one thing of each kind, closed; then the bare database, to damage.
class FsckTest : public testing::Test {
 protected:
  FsckTest() {
    SeededRandom random(1);
    auto vault = Vault::Open(temp_ / "key", {.create = true}, &random).value();
    StoreOptions options{.clock = &clock_, .vault = vault.get()};
    options.rules.judge = JudgeForTest;
    {
      auto store = OpenRocksStore({.folder = temp_ / "store"}, options).value();
      World world(store.get(), vault.get(), &clock_, 1);
      const ModelId m = world.ReadyModel("m"), n = world.ReadyModel("n");
      completed_ = world.File(m).value;
      const JobRecord verified =
          world.Lease(world.Unlearn(world.Lease(world.Form(m, {TicketId{completed_}}))));
      world.Verify(verified, {});
      done_job_ = verified.job_id();
      promoted_ = verified.candidate_checkpoint_id();
      retired_ = verified.base_checkpoint_id();
      queued_ = world.File(m).value;
      cancelled_ = world.File(m).value;
      world.Must(CancelTicket{"a", TicketId{cancelled_}});
      unlearning_ = world.File(m).value;
      leased_job_ = world.Lease(world.Form(m, {TicketId{unlearning_}})).job_id();
      verifying_ = world.File(n).value;
      const JobRecord verify = world.Unlearn(world.Lease(world.Form(n, {TicketId{verifying_}})));
      ready_job_ = verify.job_id();
      candidate_ = verify.candidate_checkpoint_id();
      report_ = world.Ticket(TicketId{completed_}).report_ids(0);
      const ModelId read = world.ReadyModel("read"), taught = world.ReadyModel("taught");
      ingest_job_ = world.Lease(*world.Must(world.CorpusCommand(read, 2)).job).job_id();
      const Receipt corpus = world.Must(world.CorpusCommand(taught, 2));
      world.Must(world.IngestCommand(world.Lease(*corpus.job), 2));
      train_job_ = world.Model(taught).corpus().shards(1).job_id();
    }
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    for (const char* name : format::kFamilyNames) {
      families.emplace_back(name, rocksdb::ColumnFamilyOptions());
    }
    rocksdb::DB* db = nullptr;
    Families handles;
    EXPECT_TRUE(rocksdb::DB::Open({}, temp_ / "store", families, &handles, &db).ok());
    folder_ = std::make_unique<RocksFolder>(std::unique_ptr<rocksdb::DB>(db), handles);
  }

  std::string Get(format::Family family, const std::string& key) {
    std::string value;
    EXPECT_TRUE(folder_->db()->Get({}, folder_->families()[family], key, &value).ok()) << key;
    return value;
  }
  void Put(format::Family family, const std::string& key, const std::string& value) {
    EXPECT_TRUE(folder_->db()->Put({}, folder_->families()[family], key, value).ok());
  }
  void Delete(format::Family family, const std::string& key) {
    EXPECT_TRUE(folder_->db()->Delete({}, folder_->families()[family], key).ok());
  }
  std::vector<std::string> Findings() {
    auto report = FsckSnapshot(RocksReader(folder_->db(), folder_->families(), false));
    EXPECT_TRUE(report.ok()) << report.status();
    std::vector<std::string> what;
    for (const Finding& f : report->findings) what.push_back(f.what);
    return what;
  }
  // Changes one record, looks for the finding, puts the record back.
  template <typename Record, typename Change>
  void Expect(const std::string& what, format::Family family, const std::string& key,
              Change change) {
    const std::string before = Get(family, key);
    Record record;
    ASSERT_TRUE(record.ParseFromString(before));
    change(record);
    Put(family, key, record.SerializeAsString());
    EXPECT_THAT(Findings(), Contains(what));
    Put(family, key, before);
  }
  void ExpectWithout(const std::string& what, format::Family family, const std::string& key) {
    const std::string before = Get(family, key);
    Delete(family, key);
    EXPECT_THAT(Findings(), Contains(what)) << "without " << key;
    Put(family, key, before);
  }

  TempFolder temp_;
  FakeClock clock_;
  std::string completed_, queued_, cancelled_, unlearning_, verifying_;
  std::string done_job_, leased_job_, ready_job_, ingest_job_, train_job_, promoted_, retired_,
      candidate_, report_;
  std::unique_ptr<RocksFolder> folder_;
};

TEST_F(FsckTest, ASoundStoreHasNoFindings) {
  auto report = FsckSnapshot(RocksReader(folder_->db(), folder_->families(), false));
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->Clean()) << report->Text();
  EXPECT_EQ(report->tickets, 5);
  EXPECT_EQ(report->models, 4);
  EXPECT_GT(report->leaves, 20);
}

TEST_F(FsckTest, Tickets) {
  const auto with = [&](const std::string& what, const std::string& id, auto change) {
    Expect<TicketRecord>(what, format::kTickets, id, change);
  };
  with("TICKET_CORRUPT", queued_, [](auto& t) { t.set_state(77); });
  with("TICKET_CORRUPT", queued_, [](auto& t) { t.set_ticket_id("t-other"); });
  with("MODEL_DANGLING", queued_, [](auto& t) { t.set_model_id("gone"); });
  with("JOB_DANGLING", queued_, [](auto& t) { t.set_job_id("j-gone"); });
  with("RUNG_UNKNOWN", queued_, [](auto& t) { t.set_rung(9); });
  with("QUEUE_PLACE", queued_, [](auto& t) { t.set_queue_seq(0); });
  with("QUEUE_PLACE", queued_, [](auto& t) { t.set_queue_seq(1); });  // another ticket's
  with("TICKET_STRANDED", queued_, [](auto& t) { t.set_state(3); });
  with("TICKET_STRANDED", unlearning_, [](auto& t) { t.set_state(4); });
  with("JOB_STRANDED", unlearning_, [](auto& t) { t.set_state(2); });
  with("HOLD_IGNORED", verifying_, [](auto& t) { t.set_held(true); });
  with("REPORT_DANGLING", completed_, [](auto& t) { t.add_report_ids("gone"); });
  with("COMPLETED_WITHOUT_PROMOTION", completed_, [&](auto& t) { t.set_checkpoint_id(retired_); });
  with("COMPLETED_WITHOUT_REPORT", completed_, [](auto& t) { t.clear_report_ids(); });
  with("TICKET_INCONSISTENT", completed_, [](auto& t) { t.set_payload_destroyed(false); });
  with("TICKET_INCONSISTENT", cancelled_, [](auto& t) { t.set_end_us(0); });
  with("DIGEST_LEFT", cancelled_, [](auto& t) { t.set_request_digest("digest"); });
  with("AUDIT_DISAGREES", queued_, [](auto& t) { t.set_state(8); });
  with("INDEX_DISAGREES", queued_, [](auto& t) { t.set_create_us(t.create_us() + 1); });
  EXPECT_THAT(Findings(), testing::IsEmpty());
}

TEST_F(FsckTest, PayloadsAndKeys) {
  ExpectWithout("PAYLOAD_MISSING", format::kPayloads, queued_);
  ExpectWithout("PAYLOAD_MISSING", format::kKeys, queued_);
  for (format::Family family : {format::kPayloads, format::kKeys}) {
    Put(family, completed_, Get(family, queued_));
    EXPECT_THAT(Findings(), Contains("PAYLOAD_LEFT"));
    Delete(family, completed_);
    Put(family, "t-nobody", Get(family, queued_));
    EXPECT_THAT(Findings(), Contains(family == format::kKeys ? "KEY_ORPHAN" : "PAYLOAD_ORPHAN"));
    Delete(family, "t-nobody");
  }
}

TEST_F(FsckTest, Jobs) {
  const auto with = [&](const std::string& what, const std::string& id, auto change) {
    Expect<JobRecord>(what, format::kJobs, id, change);
  };
  with("JOB_CORRUPT", leased_job_, [](auto& j) { j.set_kind(9); });
  with("MODEL_DANGLING", leased_job_, [](auto& j) { j.set_model_id("gone"); });
  with("ACTIVE_JOB", done_job_, [](auto& j) { j.set_state(1); });
  with("LEASE_INCONSISTENT", leased_job_, [](auto& j) { j.set_lease_expire_us(0); });
  with("LEASE_INCONSISTENT", ready_job_, [](auto& j) { j.set_lease_expire_us(5); });
  with("FENCE_REUSED", leased_job_, [](auto& j) { j.set_fence(999); });
  with("FENCE_REUSED", leased_job_, [](auto& j) { j.set_fence(1); });
  with("JOB_INCONSISTENT", leased_job_, [](auto& j) { j.clear_ticket_ids(); });
  with("TICKET_DANGLING", leased_job_, [](auto& j) { j.add_ticket_ids("t-gone"); });
  with("JOB_STRANDED", leased_job_, [&](auto& j) { j.add_ticket_ids(queued_); });
  with("CHECKPOINT_DANGLING", leased_job_, [](auto& j) { j.set_base_checkpoint_id("c-gone"); });
  with("CHECKPOINT_DANGLING", ready_job_, [](auto& j) { j.set_candidate_checkpoint_id("c-x"); });
  with("CANDIDATE_STRANDED", ready_job_, [&](auto& j) { j.set_candidate_checkpoint_id(retired_); });
  with("REPORT_DANGLING", done_job_, [](auto& j) { j.set_report_id("gone"); });
  ExpectWithout("TICKET_STRANDED", format::kJobs, leased_job_);
}

TEST_F(FsckTest, CorporaAndTeachers) {
  const auto model = [&](const std::string& what, const std::string& id, auto change) {
    Expect<ModelRecord>(what, format::kModels, id,
                        [&](ModelRecord& m) { change(*m.mutable_corpus()); });
  };
  model("CORPUS_INCONSISTENT", "read", [](auto& c) { c.set_state(9); });
  model("CORPUS_INCONSISTENT", "read", [](auto& c) { c.clear_job_id(); });
  model("JOB_DANGLING", "read", [](auto& c) { c.set_job_id("j-gone"); });
  model("CORPUS_JOB", "read", [](auto& c) { c.set_state(4); });  // FAILED, and a worker reads
  model("CORPUS_INCONSISTENT", "taught", [](auto& c) { c.clear_shards(); });
  model("CORPUS_INCONSISTENT", "taught", [](auto& c) { c.set_state(3); });  // READY, untaught
  model("TEACHER_CORRUPT", "taught", [](auto& c) { c.mutable_shards(0)->set_state(7); });
  model("TEACHER_INCONSISTENT", "taught", [](auto& c) { c.mutable_shards(0)->set_state(2); });
  model("JOB_DANGLING", "taught", [](auto& c) { c.mutable_shards(0)->set_job_id("j-gone"); });
  model("CORPUS_JOB", "taught", [](auto& c) { c.mutable_shards(1)->set_state(4); });
  Expect<JobRecord>("CORPUS_JOB", format::kJobs, ingest_job_, [](auto& j) { j.set_state(3); });
  Expect<JobRecord>("JOB_INCONSISTENT", format::kJobs, train_job_,
                    [](auto& j) { j.clear_shards(); });
  ExpectWithout("JOB_DANGLING", format::kJobs, train_job_);
  Expect<TicketRecord>("TICKET_INCONSISTENT", format::kTickets, queued_,
                       [](auto& t) { t.set_corpus_sequences(2); });
}

TEST_F(FsckTest, ModelsAndCheckpoints) {
  const auto model = [&](const std::string& what, auto change) {
    Expect<ModelRecord>(what, format::kModels, "m", change);
  };
  model("MODEL_CORRUPT", [](auto& m) { m.clear_policy(); });
  model("CURRENT_INCONSISTENT", [&](auto& m) { m.set_current_checkpoint_id(retired_); });
  model("CURRENT_INCONSISTENT", [](auto& m) { m.set_generation(7); });
  model("ACTIVE_JOB", [](auto& m) { m.clear_active_job_id(); });
  model("JOB_DANGLING", [](auto& m) { m.set_active_job_id("j-gone"); });
  model("PROMOTED_COUNT", [](auto& m) { m.set_state(1); });
  model("MODEL_INCONSISTENT", [](auto& m) { m.clear_data_folder(); });
  const auto checkpoint = [&](const std::string& what, const std::string& id, auto change) {
    Expect<CheckpointRecord>(what, format::kCheckpoints, id, change);
  };
  checkpoint("CHECKPOINT_CORRUPT", retired_, [](auto& c) { c.set_fence(77); });
  checkpoint("CHECKPOINT_CORRUPT", retired_, [](auto& c) { c.set_state(0); });
  checkpoint("PROMOTED_COUNT", retired_, [](auto& c) { c.set_state(2); });
  checkpoint("GENERATION", retired_, [](auto& c) { c.set_generation(2); });  // the promoted one's
  checkpoint("GENERATION", candidate_, [](auto& c) { c.set_generation(1); });
  checkpoint("CANDIDATE_STRANDED", retired_, [](auto& c) { c.set_state(1); });
  checkpoint("CANDIDATE_STRANDED", candidate_, [](auto& c) { c.set_state(4); });
  checkpoint("FOLDER_REMOVED", promoted_, [](auto& c) { c.set_folder_removed(true); });
  checkpoint("CHECKPOINT_DANGLING", promoted_, [](auto& c) { c.set_parent_checkpoint_id("c"); });
  checkpoint("REPORT_DANGLING", promoted_, [](auto& c) { c.set_report_id("gone"); });
  checkpoint("TICKET_DANGLING", promoted_, [](auto& c) { c.add_ticket_ids("t-gone"); });
  checkpoint("JOB_DANGLING", promoted_, [](auto& c) { c.set_job_id("j-gone"); });
  checkpoint("MODEL_DANGLING", promoted_, [](auto& c) { c.set_model_id("gone"); });
}

TEST_F(FsckTest, TheAuditLog) {
  const std::string last = format::Be64(12), before = Get(format::kAudit, last);
  Delete(format::kAudit, last);
  EXPECT_THAT(Findings(), Contains("AUDIT_GAP"));
  AuditLeaf leaf;
  ASSERT_TRUE(leaf.ParseFromString(before));
  leaf.set_from("NOWHERE");
  leaf.set_event("TICKET_STATE");
  leaf.set_ticket_id(queued_);
  Put(format::kAudit, last, leaf.SerializeAsString());
  EXPECT_THAT(Findings(), Contains("AUDIT_JUMPS"));
  Put(format::kAudit, last, "\xff\xff\xff");
  EXPECT_THAT(Findings(), Contains("LEAF_CORRUPT"));
  Put(format::kAudit, last, before);
  Expect<CountersRecord>("AUDIT_SIZE", format::kDefault, "counters",
                         [](auto& c) { c.set_audit_size(c.audit_size() + 1); });
}

TEST_F(FsckTest, IndexesReportsRequests) {
  TicketRecord t;
  t.ParseFromString(Get(format::kTickets, queued_));
  for (const std::string& key : format::IndexKeys(t)) {
    ExpectWithout("INDEX_DISAGREES", format::kIndex, key);
  }
  Put(format::kIndex, format::ExpiryKey(1, "nobody"), "");
  EXPECT_THAT(Findings(), Contains("INDEX_DISAGREES"));
  Delete(format::kIndex, format::ExpiryKey(1, "nobody"));
  Expect<ReportRecord>("REPORT_CORRUPT", format::kReports, report_,
                       [](auto& r) { r.set_report("something else"); });
  Expect<RequestRecord>("REQUEST_DANGLING", format::kRequests, t.request_key(),
                        [](auto& r) { r.set_ticket_id("t-gone"); });
  Put(format::kTickets, "t-x", "\xff\xff\xff\xff");
  EXPECT_THAT(Findings(), Contains("RECORD_CORRUPT"));
}

}  // namespace
}  // namespace lethe::storage
