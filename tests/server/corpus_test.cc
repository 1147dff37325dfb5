// A corpus over gRPC: registered, read, taught; tickets by person and document, what they would
// touch, what workers get, and what is left at the end. The worker's part is done by the test with
// the corpus' own code; a teacher is a folder with a file in it.
#include "corpus/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "base/digest.h"
#include "base/model_layout.h"
#include "corpus/build.h"
#include "corpus/erase.h"
#include "tests/server/harness.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// 40 people of three sequences each, of 12 tokens that nobody else has in this order; then person 1's
// first sequence once more, with person 2, person 30's second three times more, and a long one.
std::vector<int32_t> Tokens(int person, int part) {
  std::vector<int32_t> ids;
  for (int i = 0; i < 12; ++i) ids.push_back((person * 31 + part * 7 + i * i * (person + 3)) % 300);
  return ids;
}

std::vector<int32_t> Long() {
  std::vector<int32_t> ids;
  for (int i = 0; i < 40; ++i) ids.push_back((7 + i * i * 5 + i) % 300);
  return ids;
}

std::string Line(const std::vector<int32_t>& ids, int person, const std::string& document) {
  std::string text = "{\"ids\": [";
  for (size_t i = 0; i < ids.size(); ++i) text += (i ? "," : "") + std::to_string(ids[i]);
  return text + "], \"subject\": \"p-" + std::to_string(person) + "\", \"document\": \"" +
         document + "\"}\n";
}

class ServedCorpus : public ::testing::Test {
 protected:
  void SetUp() override {
    h_.RegisterReadyModel("m");
    std::ofstream out(h_.root() / "lines.jsonl");
    for (int part = 0; part < 3; ++part) {
      for (int p = 0; p < 40; ++p) {
        out << Line(Tokens(p, part), p, "d-" + std::to_string(p) + "-" + std::to_string(part));
      }
    }
    out << Line(Tokens(1, 0), 2, "copy");
    for (int i = 0; i < 3; ++i) out << Line(Tokens(30, 1), 30, "again-" + std::to_string(i));
    out << Line(Long(), 39, "long");
  }

  v1::RegisterCorpusRequest Request() {
    v1::RegisterCorpusRequest request;
    request.set_model_id("m");
    request.add_source_paths((h_.root() / "lines.jsonl").string());
    request.mutable_options()->set_shards(3);
    request.mutable_options()->set_slices(2);
    request.mutable_teachers()->set_hidden_size(32);
    return request;
  }
  CallError Register(const v1::RegisterCorpusRequest& request, v1::Model* model = nullptr) {
    grpc::ClientContext context;
    Harness::Prepare(context);
    v1::Model answer;
    const grpc::Status status = h_.models->RegisterCorpus(&context, request, &answer);
    if (model != nullptr) *model = answer;
    return ErrorOf(status);
  }
  v1::Corpus GetCorpus() {
    grpc::ClientContext context;
    Harness::Prepare(context);
    v1::GetModelRequest request;
    request.set_model_id("m");
    v1::Model model;
    EXPECT_TRUE(h_.models->GetModel(&context, request, &model).ok());
    return model.corpus();
  }

  fs::path Models() const { return h_.config.model_folder; }
  static CorpusKey KeyOf(const v1::CorpusPlace& place) {
    return *CorpusKey::FromBytes(place.key());
  }
  CallError Complete(const v1::CompleteJobRequest& request) {
    grpc::ClientContext context;
    Harness::Prepare(context);
    v1::CompleteJobResponse response;
    return ErrorOf(h_.work->CompleteJob(&context, request, &response));
  }
  static v1::CompleteJobRequest Result(const v1::Job& job) {
    v1::CompleteJobRequest request;
    request.set_job_id(job.job_id());
    request.set_fence(job.fence());
    return request;
  }

  CallError Ingest(const v1::Job& job) {
    const v1::IngestWork& work = job.ingest();
    CorpusInput input{.files = {work.source_paths().begin(), work.source_paths().end()}};
    input.limits.vocab_size = work.vocab_size();
    input.limits.max_tokens = work.max_tokens();
    const fs::path folder = Models() / work.corpus().folder();
    config_folder_ = work.config_folder();
    fs::create_directories(folder.parent_path());
    const auto built = BuildCorpus(folder, KeyOf(work.corpus()),
                                   {.shards = static_cast<uint32_t>(work.options().shards()),
                                    .slices = static_cast<uint32_t>(work.options().slices())},
                                   input);
    EXPECT_TRUE(built.ok()) << built.status();
    v1::CompleteJobRequest request = Result(job);
    request.mutable_ingest()->set_sequences(static_cast<int64_t>(built->sequences));
    request.mutable_ingest()->set_tokens(static_cast<int64_t>(built->tokens));
    return Complete(request);
  }

  void WriteTeacher(const std::string& teachers_folder, int shard, const std::string& weights,
                    v1::TeacherResult* result) {
    const fs::path folder =
        Models() / teachers_folder / ("shard-" + std::to_string(shard)) / "model";
    fs::create_directories(folder);
    std::ofstream(folder / "model.safetensors") << weights;
    result->set_shard(shard);
    result->set_state_key(Sha256Hex(weights));
    result->set_model_digest(FolderDigest(folder).value());
    result->set_trained_tokens(1000);
  }

  CallError Train(const v1::Job& job) {
    v1::CompleteJobRequest request = Result(job);
    WriteTeacher(job.train().teachers_folder(), job.train().shard(), "first",
                 request.mutable_train()->mutable_teacher());
    request.mutable_train()->mutable_run()->set_seconds(0.5);
    return Complete(request);
  }

  CallError Retrain(const v1::Job& job) {
    const v1::RetrainWork& work = job.retrain();
    ErasureTargets targets;
    for (const v1::TicketPayload& ticket : work.tickets()) {
      for (const uint64_t id : ticket.corpus_sequences()) targets.sequences.push_back({id});
    }
    const auto erased =
        EraseFromCorpus(Models() / work.corpus().folder(), KeyOf(work.corpus()), targets);
    EXPECT_TRUE(erased.ok()) << erased.status();
    v1::CompleteJobRequest request = Result(job);
    request.mutable_retrain()->set_erased(static_cast<int64_t>(erased->sequences.size()));
    for (const int32_t shard : work.shards()) {
      WriteTeacher(work.teachers_folder(), shard, "again",
                   request.mutable_retrain()->add_teachers());
    }
    return Complete(request);
  }

  void MakeReady() { MakeReady(Request()); }
  void MakeReady(const v1::RegisterCorpusRequest& request) {
    ASSERT_EQ(Register(request).reason, "");
    ASSERT_EQ(Ingest(h_.Acquire(v1::JOB_KIND_INGEST)).reason, "");
    for (int shard = 0; shard < 3; ++shard) {
      ASSERT_EQ(Train(h_.Acquire(v1::JOB_KIND_TRAIN)).reason, "");
    }
  }

  v1::CreateTicketRequest TicketFor(const std::string& id) {
    v1::CreateTicketRequest request;
    request.set_request_id(id);
    request.set_model_id("m");
    return request;
  }
  CallError File(const v1::CreateTicketRequest& request, v1::Ticket* ticket) {
    grpc::ClientContext context;
    Harness::Prepare(context);
    return ErrorOf(h_.deletion->CreateTicket(&context, request, ticket));
  }

  Harness h_;
  std::string config_folder_;
};

TEST_F(ServedCorpus, IsReadTaughtAndAnswersForItsPeople) {
  v1::Model model;
  ASSERT_EQ(Register(Request(), &model).reason, "");
  EXPECT_EQ(model.corpus().state(), v1::CORPUS_STATE_READING);
  EXPECT_EQ(model.corpus().teachers().layers(), 4);  // defaults are filled in
  EXPECT_EQ(model.corpus().teachers().context_length(), kContext);
  EXPECT_NE(model.corpus().teachers().seed(), 0u);
  v1::CreateTicketRequest by_person = TicketFor("r-1");
  by_person.add_targets()->set_subject("p-1");
  v1::Ticket ticket;
  EXPECT_EQ(File(by_person, &ticket).reason, "CORPUS_NOT_READY");

  const v1::Job ingest = h_.Acquire(v1::JOB_KIND_INGEST);
  EXPECT_EQ(ingest.ingest().max_tokens(), kContext);
  EXPECT_EQ(ingest.ingest().vocab_size(), kVocabulary);
  ASSERT_EQ(Ingest(ingest).reason, "");
  EXPECT_EQ(GetCorpus().state(), v1::CORPUS_STATE_TRAINING);
  EXPECT_EQ(GetCorpus().sequences(), 125);
  std::set<int> shards;
  // Several workers have several shards at once.
  std::vector<v1::Job> jobs;
  for (int i = 0; i < 3; ++i) {
    jobs.push_back(h_.Acquire(v1::JOB_KIND_TRAIN, absl::ZeroDuration(), "w-" + std::to_string(i)));
    shards.insert(jobs.back().train().shard());
  }
  EXPECT_THAT(shards, ElementsAre(0, 1, 2));
  for (const v1::Job& job : jobs) ASSERT_EQ(Train(job).reason, "");
  EXPECT_EQ(GetCorpus().state(), v1::CORPUS_STATE_READY);
  EXPECT_NEAR(GetCorpus().train_token_seconds(), 0.0005, 1e-9);

  // What a person's ticket would touch: their three sequences, in one shard; and somebody else has
  // one of them too.
  by_person.set_validate_only(true);
  ASSERT_EQ(File(by_person, &ticket).reason, "");
  const v1::CorpusPreview& preview = ticket.preview().corpus();
  EXPECT_EQ(ticket.sequences(), 3);
  EXPECT_EQ(preview.sequences(), 3);
  EXPECT_EQ(preview.shards_size(), 1);
  EXPECT_EQ(preview.near_copies(), 1);
  EXPECT_GT(preview.retrain_tokens(), 0);
  EXPECT_TRUE(preview.has_retrain());
  const bool same_shard = preview.teachers_left() == 2;  // or the copy's teacher saw it as well
  EXPECT_TRUE(same_shard || preview.teachers_left() == 1);
  ASSERT_THAT(ticket.preview().notices(), SizeIs(::testing::Ge(1)));
  EXPECT_THAT(ticket.preview().notices(0).reason(), "COPIES_OF_OTHERS");
}

TEST_F(ServedCorpus, APersonsTicketIsCompletedOnceCorpusAndTeachersAreClean) {
  MakeReady();
  v1::CreateTicketRequest request = TicketFor("r-1");
  request.add_targets()->set_subject("p-7");
  v1::Ticket ticket;
  ASSERT_EQ(File(request, &ticket).reason, "");
  EXPECT_EQ(ticket.corpus().sequences(), 3);
  ASSERT_EQ(ticket.corpus().shards_size(), 1);

  const v1::Job unlearn = h_.Acquire(v1::JOB_KIND_UNLEARN);
  EXPECT_EQ(unlearn.unlearn().tickets(0).sequences_size(), 3);
  EXPECT_THAT(unlearn.unlearn().tickets(0).sequences(0).ids(),
              ::testing::ElementsAreArray(Tokens(7, 0)));
  EXPECT_THAT(unlearn.unlearn().teachers().shards(), ElementsAre(0, 1, 2));
  ASSERT_TRUE(h_.CompleteUnlearn(unlearn).ok());
  ASSERT_TRUE(h_.CompleteVerify(h_.Acquire(v1::JOB_KIND_VERIFY), Harness::kForgotten).ok());

  EXPECT_EQ(h_.Get(ticket.ticket_id()).state(), v1::TICKET_STATE_ERASING);
  const int shard = ticket.corpus().shards(0);
  EXPECT_EQ(GetCorpus().shards(shard).state(), v1::TEACHER_STATE_STALE);
  EXPECT_NE(h_.Current("m"), "");
  const v1::Job retrain = h_.Acquire(v1::JOB_KIND_RETRAIN);
  EXPECT_THAT(retrain.retrain().shards(), ElementsAre(shard));
  EXPECT_EQ(retrain.retrain().tickets(0).sequences_size(), 0) << "text that nobody needs";
  EXPECT_EQ(retrain.retrain().tickets(0).corpus_sequences_size(), 3);
  ASSERT_EQ(Retrain(retrain).reason, "");
  const v1::Ticket done = h_.Get(ticket.ticket_id());
  EXPECT_EQ(done.state(), v1::TICKET_STATE_COMPLETED);
  EXPECT_EQ(done.reason(), v1::TICKET_REASON_FORGOTTEN);
  EXPECT_TRUE(done.payload_destroyed());
  EXPECT_EQ(GetCorpus().shards(shard).state(), v1::TEACHER_STATE_READY);
  EXPECT_EQ(GetCorpus().shards(shard).state_key(), Sha256Hex("again"));

  // The server sees the corpus as it is now.
  request = TicketFor("r-2");
  request.add_targets()->set_subject("p-7");
  EXPECT_EQ(File(request, &ticket).reason, "SUBJECT_UNKNOWN");
  EXPECT_EQ(File(request, &ticket).field, "targets[0]");
  // A repeat of the first call is answered as that was.
  request = TicketFor("r-1");
  request.add_targets()->set_subject("p-7");
  ASSERT_EQ(File(request, &ticket).reason, "");
  EXPECT_EQ(ticket.ticket_id(), done.ticket_id());
}

TEST_F(ServedCorpus, TextThatAPersonHasOftenIsForgottenOnceAndErasedEverywhere) {
  MakeReady();
  v1::CreateTicketRequest request = TicketFor("r-1");
  request.add_targets()->set_subject("p-30");
  v1::Ticket ticket;
  ASSERT_EQ(File(request, &ticket).reason, "");
  EXPECT_EQ(ticket.sequences(), 3);
  EXPECT_EQ(ticket.corpus().sequences(), 6);
}

TEST_F(ServedCorpus, WhatHasToBeTrainedAgainIsToldToTheWorker) {
  v1::RegisterCorpusRequest corpus = Request();
  corpus.mutable_base()->set_epochs(2);
  MakeReady(corpus);
  EXPECT_EQ(GetCorpus().base().batch_tokens(), 4096);
  EXPECT_NE(GetCorpus().base().seed(), 0u);
  v1::CreateTicketRequest request = TicketFor("r-1");
  request.add_targets()->set_subject("p-7");
  v1::Ticket ticket;
  ASSERT_EQ(File(request, &ticket).reason, "");
  const v1::Job unlearn = h_.Acquire(v1::JOB_KIND_UNLEARN);
  const v1::BaseWork& base = unlearn.unlearn().base();
  EXPECT_EQ(base.options().epochs(), 2);
  EXPECT_EQ(base.config_folder(), config_folder_) << "as INGEST kept it";
  EXPECT_EQ(unlearn.unlearn().teachers().digests_size(), 3);
  ASSERT_TRUE(h_.CompleteUnlearn(unlearn).ok());
  ASSERT_TRUE(h_.CompleteVerify(h_.Acquire(v1::JOB_KIND_VERIFY), Harness::kForgotten).ok());
  const v1::Job retrain = h_.Acquire(v1::JOB_KIND_RETRAIN);
  EXPECT_EQ(retrain.retrain().base().states_folder(), base.states_folder());
}

TEST_F(ServedCorpus, WhatIsStillThereIsNotBelievedToBeErased) {
  MakeReady();
  v1::CreateTicketRequest request = TicketFor("r-1");
  request.add_targets()->set_subject("p-7");
  v1::Ticket ticket;
  ASSERT_EQ(File(request, &ticket).reason, "");
  ASSERT_TRUE(h_.CompleteUnlearn(h_.Acquire(v1::JOB_KIND_UNLEARN)).ok());
  ASSERT_TRUE(h_.CompleteVerify(h_.Acquire(v1::JOB_KIND_VERIFY), Harness::kForgotten).ok());
  const v1::Job job = h_.Acquire(v1::JOB_KIND_RETRAIN);
  v1::CompleteJobRequest lie = Result(job);
  lie.mutable_retrain()->set_erased(3);
  WriteTeacher(job.retrain().teachers_folder(), job.retrain().shards(0), "again",
               lie.mutable_retrain()->add_teachers());
  EXPECT_EQ(Complete(lie).reason, "ARTEFACT_MISMATCH");
  EXPECT_EQ(h_.Get(ticket.ticket_id()).state(), v1::TICKET_STATE_ERASING);
  EXPECT_EQ(Retrain(job).reason, "");
  EXPECT_EQ(h_.Get(ticket.ticket_id()).state(), v1::TICKET_STATE_COMPLETED);
}

TEST_F(ServedCorpus, ATeacherThatCannotBeTrainedAgainKeepsNobodyWaiting) {
  MakeReady();
  v1::CreateTicketRequest request = TicketFor("r-1");
  request.add_targets()->set_subject("p-7");
  v1::Ticket ticket;
  ASSERT_EQ(File(request, &ticket).reason, "");
  ASSERT_TRUE(h_.CompleteUnlearn(h_.Acquire(v1::JOB_KIND_UNLEARN)).ok());
  ASSERT_TRUE(h_.CompleteVerify(h_.Acquire(v1::JOB_KIND_VERIFY), Harness::kForgotten).ok());
  const v1::Job job = h_.Acquire(v1::JOB_KIND_RETRAIN);
  const v1::RetrainWork& work = job.retrain();
  ErasureTargets targets;
  for (const uint64_t id : work.tickets(0).corpus_sequences()) targets.sequences.push_back({id});
  ASSERT_TRUE(
      EraseFromCorpus(Models() / work.corpus().folder(), KeyOf(work.corpus()), targets).ok());
  v1::CompleteJobRequest done = Result(job);
  v1::TeacherResult* teacher = done.mutable_retrain()->add_teachers();
  teacher->set_shard(work.shards(0));
  teacher->set_failure_reason("METHOD_DIVERGED");
  ASSERT_EQ(Complete(done).reason, "");
  EXPECT_EQ(h_.Get(ticket.ticket_id()).state(), v1::TICKET_STATE_COMPLETED);
  const v1::TeacherStatus status = GetCorpus().shards(work.shards(0));
  EXPECT_EQ(status.state(), v1::TEACHER_STATE_FAILED);
  EXPECT_EQ(status.failure_reason(), "METHOD_DIVERGED");
}

TEST_F(ServedCorpus, ABatchIsRepeatedAfterItsPeopleAreGone) {
  MakeReady();
  v1::BatchCreateTicketsRequest batch;
  for (const int person : {7, 8}) {
    v1::CreateTicketRequest* request = batch.add_requests();
    *request = TicketFor("r-" + std::to_string(person));
    request->add_targets()->set_subject("p-" + std::to_string(person));
  }
  const auto file = [&](v1::BatchCreateTicketsResponse* response) {
    grpc::ClientContext context;
    Harness::Prepare(context);
    return h_.deletion->BatchCreateTickets(&context, batch, response);
  };
  v1::BatchCreateTicketsResponse first, again;
  ASSERT_TRUE(file(&first).ok());
  ASSERT_TRUE(h_.CompleteUnlearn(h_.Acquire(v1::JOB_KIND_UNLEARN)).ok());
  ASSERT_TRUE(h_.CompleteVerify(h_.Acquire(v1::JOB_KIND_VERIFY), Harness::kForgotten).ok());
  ASSERT_EQ(Retrain(h_.Acquire(v1::JOB_KIND_RETRAIN)).reason, "");
  ASSERT_TRUE(file(&again).ok());
  ASSERT_EQ(again.tickets_size(), 2);
  EXPECT_EQ(again.tickets(0).ticket_id(), first.tickets(0).ticket_id());
  EXPECT_EQ(again.tickets(1).state(), v1::TICKET_STATE_COMPLETED);
}

TEST_F(ServedCorpus, DocumentsAndTextsAreFoundToo) {
  MakeReady();
  v1::CreateTicketRequest request = TicketFor("r-1");
  request.add_targets()->set_document("d-9-2");
  v1::Ticket ticket;
  ASSERT_EQ(File(request, &ticket).reason, "");
  EXPECT_EQ(ticket.corpus().sequences(), 1);
  // Text that the corpus holds twice, with two people: both go, for the text is what is asked.
  request = TicketFor("r-2");
  const std::vector<int32_t> ids = Tokens(1, 0);
  request.add_targets()->mutable_ids()->mutable_ids()->Add(ids.begin(), ids.end());
  ASSERT_EQ(File(request, &ticket).reason, "");
  EXPECT_EQ(ticket.corpus().sequences(), 2);
  // Text cut out of a longer one, whose ends the tokenizer has joined to other tokens.
  request = TicketFor("r-4");
  std::vector<int32_t> cut = Long();
  cut = {cut.begin() + 5, cut.end() - 5};
  cut.front() = 310;
  cut.back() = 311;
  request.add_targets()->mutable_ids()->mutable_ids()->Add(cut.begin(), cut.end());
  ASSERT_EQ(File(request, &ticket).reason, "");
  EXPECT_EQ(ticket.corpus().sequences(), 1);
  // Text that it does not hold: a ticket like any other.
  request = TicketFor("r-3");
  request.add_targets()->mutable_ids()->mutable_ids()->Resize(20, 301);
  request.set_validate_only(true);
  ASSERT_EQ(File(request, &ticket).reason, "");
  EXPECT_FALSE(ticket.preview().has_corpus());
  ASSERT_THAT(ticket.preview().notices(), SizeIs(::testing::Ge(1)));
  EXPECT_EQ(ticket.preview().notices(0).reason(), "NOT_IN_CORPUS");
}

TEST_F(ServedCorpus, ALineAtFaultIsNamedAndNothingIsKept) {
  ASSERT_EQ(Register(Request()).reason, "");
  const v1::Job job = h_.Acquire(v1::JOB_KIND_INGEST);
  fs::create_directories(Models() / job.ingest().corpus().folder());
  v1::FailJobRequest fail;
  fail.set_job_id(job.job_id());
  fail.set_fence(job.fence());
  fail.set_cause(v1::FAILURE_CAUSE_INPUT);
  fail.set_reason("SUBJECT_MISSING");
  fail.set_line(17);
  grpc::ClientContext context;
  Harness::Prepare(context);
  v1::FailJobResponse response;
  ASSERT_TRUE(h_.work->FailJob(&context, fail, &response).ok());
  const v1::Corpus corpus = GetCorpus();
  EXPECT_EQ(corpus.state(), v1::CORPUS_STATE_FAILED);
  EXPECT_EQ(corpus.failure_reason(), "SUBJECT_MISSING");
  EXPECT_EQ(corpus.failure_line(), 17);
  h_.Stop();  // the folders are in line once it has drained
  EXPECT_FALSE(fs::exists(Models() / "m" / "corpora" / job.job_id()));
}

TEST_F(ServedCorpus, BadRequestsChangeNothing) {
  const std::string before = h_.Dump();
  v1::RegisterCorpusRequest request = Request();
  request.set_model_id("nobody");
  EXPECT_EQ(Register(request).reason, "MODEL_NOT_FOUND");
  request = Request();
  request.clear_source_paths();
  EXPECT_EQ(Register(request).reason, "SOURCE_UNREADABLE");
  request.add_source_paths("lines.jsonl");
  EXPECT_EQ(Register(request).field, "source_paths[0]");
  request = Request();
  request.add_source_paths(request.source_paths(0));
  EXPECT_EQ(Register(request).field, "source_paths[1]");
  request = Request();
  request.mutable_options()->set_shards(-1);
  EXPECT_EQ(Register(request).reason, "CORPUS_OPTIONS_INVALID");
  request.mutable_options()->set_shards(256);
  request.mutable_options()->set_slices(256);
  EXPECT_EQ(Register(request).field, "options.slices");
  request = Request();
  request.mutable_teachers()->set_hidden_size(33);
  EXPECT_EQ(Register(request).reason, "TEACHER_OPTIONS_INVALID");
  request = Request();
  request.mutable_teachers()->set_context_length(kContext + 1);
  EXPECT_EQ(Register(request).field, "teachers.context_length");
  request = Request();
  request.mutable_teachers()->set_epochs(std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(Register(request).field, "teachers.epochs");
  request = Request();
  request.set_validate_only(true);
  EXPECT_EQ(Register(request).reason, "");
  v1::CreateTicketRequest ticket_request = TicketFor("r-1");
  ticket_request.add_targets()->set_subject("p-1");
  v1::Ticket ticket;
  EXPECT_EQ(File(ticket_request, &ticket).reason, "NO_CORPUS");
  ticket_request.mutable_targets(0)->set_subject("");
  EXPECT_EQ(File(ticket_request, &ticket).reason, "TARGET_EMPTY");
  ticket_request.mutable_targets(0)->set_document(std::string(5000, 'x'));
  EXPECT_EQ(File(ticket_request, &ticket).reason, "TEXT_TOO_LARGE");
  ticket_request.mutable_targets(0)->set_document("d");
  ticket_request.mutable_targets(0)->add_sensitive_spans()->set_end(1);
  EXPECT_EQ(File(ticket_request, &ticket).reason, "SPAN_OUT_OF_RANGE");
  EXPECT_EQ(h_.Dump(), before);
}

TEST_F(ServedCorpus, IsNotRegisteredOverOpenTickets) {
  h_.File("r-1", "m");
  EXPECT_EQ(Register(Request()).reason, "TICKETS_OPEN");
}

TEST_F(ServedCorpus, ATeacherThatIsNotWhatTheWorkerSaysIsNotTaken) {
  ASSERT_EQ(Register(Request()).reason, "");
  ASSERT_EQ(Ingest(h_.Acquire(v1::JOB_KIND_INGEST)).reason, "");
  const v1::Job job = h_.Acquire(v1::JOB_KIND_TRAIN);
  v1::CompleteJobRequest request = Result(job);
  v1::TeacherResult* teacher = request.mutable_train()->mutable_teacher();
  teacher->set_shard(job.train().shard());
  teacher->set_state_key(Sha256Hex("x"));
  teacher->set_model_digest(Sha256Hex("y"));
  EXPECT_EQ(Complete(request).reason, "ARTEFACT_MISMATCH");
  EXPECT_EQ(Train(job).reason, "");
  // A repeat, its first reply lost.
  EXPECT_EQ(Train(job).reason, "");
}

TEST_F(ServedCorpus, MetricsCountTeachersAndTheKeySurvivesARestart) {
  MakeReady();
  h_.clock.Advance(absl::Seconds(30));
  h_.Restart();  // gauges are set at its start
  EXPECT_EQ(h_.Metric("lethe_teachers{state=\"READY\"}"), "3");
  v1::CreateTicketRequest request = TicketFor("r-1");
  request.add_targets()->set_subject("p-3");
  v1::Ticket ticket;
  ASSERT_EQ(File(request, &ticket).reason, "");
  EXPECT_THAT(h_.Dump(), ::testing::Not(HasSubstr("p-3")));
  // After a restart the same key finds the same people.
  h_.Restart();
  request = TicketFor("r-2");
  request.add_targets()->set_subject("p-4");
  ASSERT_EQ(File(request, &ticket).reason, "");
  EXPECT_EQ(ticket.corpus().sequences(), 3);
}

}  // namespace
}  // namespace lethe
