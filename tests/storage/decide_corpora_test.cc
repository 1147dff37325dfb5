// A corpus from registration to erasure, and what every failure leaves behind.
#include <gtest/gtest.h>

#include "base/status.h"
#include "lethe/v1/ticket.pb.h"
#include "storage/state/corpus_state.h"
#include "tests/support/store_fixture.h"

namespace lethe::storage {
namespace {

namespace v1 = lethe::v1;

class Corpora : public StoreTest {
 protected:
  CorpusRecord Corpus(const ModelId& model) { return world_->Model(model).corpus(); }
  CorpusState StateOf(const ModelId& model) {
    return static_cast<CorpusState>(Corpus(model).state());
  }
  TeacherState Teacher(const ModelId& model, int shard) {
    return static_cast<TeacherState>(Corpus(model).shards(shard).state());
  }
  // The ticket's candidate promoted: the RETRAIN job, leased.
  JobRecord ToErasing(const ModelId& model, const std::vector<TicketId>& tickets) {
    const JobRecord verify = world_->Unlearn(world_->Lease(world_->Form(model, tickets)));
    world_->Verify(world_->Lease(verify), {});
    return world_->Lease(world_->Job(world_->Model(model).active_job_id()));
  }
  FailJob Failure(const JobRecord& leased, FailureCause cause) {
    return FailJob{.actor = "worker",
                   .job = JobId{leased.job_id()},
                   .fence = Fence{leased.fence()},
                   .cause = cause,
                   .reason = "SUBJECT_MISSING",
                   .line = 17,
                   .source = 1};
  }
};

TEST_F(Corpora, IsReadWholeThenTrainedShardByShard) {
  const ModelId model = world_->ReadyModel("m");
  const Receipt registered = world_->Must(world_->CorpusCommand(model, 3));
  EXPECT_EQ(StateOf(model), CorpusState::kReading);
  EXPECT_EQ(world_->Fsck(), "");
  const JobRecord ingest = world_->Lease(*registered.job);
  EXPECT_TRUE(ingest.candidate_checkpoint_id().empty());
  const CompleteIngest read = world_->IngestCommand(ingest, 3);
  world_->Must(read);
  EXPECT_EQ(StateOf(model), CorpusState::kTraining);
  EXPECT_TRUE(world_->Must(read).repeated);
  EXPECT_EQ(world_->Fsck(), "");
  for (int shard = 0; shard < 3; ++shard) {
    EXPECT_EQ(StateOf(model), CorpusState::kTraining);
    const JobRecord job = world_->Lease(world_->Job(Corpus(model).shards(shard).job_id()));
    EXPECT_EQ(job.shards(0), shard);
    const CompleteTrain trained = world_->TrainCommand(job);
    world_->Must(trained);
    EXPECT_TRUE(world_->Must(trained).repeated);
    EXPECT_EQ(world_->Fsck(), "");
  }
  EXPECT_EQ(StateOf(model), CorpusState::kReady);
  EXPECT_EQ(Corpus(model).trained_tokens(), 1500);
  EXPECT_EQ(Corpus(model).trained_seconds(), 6);
  // None of this was the model's one active job.
  EXPECT_TRUE(world_->Model(model).active_job_id().empty());
}

TEST_F(Corpora, AModelHasOneCorpusAndABrokenOneIsReplaced) {
  const ModelId model = world_->ReadyModel("m");
  const Receipt registered = world_->Must(world_->CorpusCommand(model, 2));
  EXPECT_EQ(Refusal(world_->CorpusCommand(model, 2)), "CORPUS_EXISTS");
  const JobRecord ingest = world_->Lease(*registered.job);
  world_->Must(Failure(ingest, FailureCause::kInput));
  EXPECT_EQ(StateOf(model), CorpusState::kFailed);
  EXPECT_EQ(Corpus(model).failure_reason(), "SUBJECT_MISSING");
  EXPECT_EQ(Corpus(model).failure_line(), 17);
  EXPECT_EQ(Corpus(model).failure_source(), 1);
  EXPECT_EQ(world_->Fsck(), "");
  world_->ReadyCorpus(model, 2);
  EXPECT_EQ(StateOf(model), CorpusState::kReady);
  EXPECT_EQ(Corpus(model).failure_line(), 0);
  EXPECT_EQ(Refusal(world_->CorpusCommand(model, 2)), "CORPUS_EXISTS");
  EXPECT_EQ(world_->Fsck(), "");
}

TEST_F(Corpora, TicketsWaitUntilItIsKnownWhatTheyTouch) {
  const ModelId model = world_->ReadyModel("m");
  const Receipt registered = world_->Must(world_->CorpusCommand(model, 2));
  const auto file = [&] {
    return CreateTickets{.actor = "o", .tickets = {world_->Draft(model, "r1", "text")}};
  };
  EXPECT_EQ(Refusal(file()), "CORPUS_NOT_READY");
  world_->Must(world_->IngestCommand(world_->Lease(*registered.job), 2));
  EXPECT_EQ(Refusal(file()), "CORPUS_NOT_READY");
  const CorpusRecord corpus = Corpus(model);
  for (const TeacherRecord& teacher : corpus.shards()) {
    world_->Must(world_->TrainCommand(world_->Lease(world_->Job(teacher.job_id()))));
  }
  world_->Must(file());
}

TEST_F(Corpora, ATeacherThatCannotBeTrainedDoesNotHoldTheCorpusUp) {
  const ModelId model = world_->ReadyModel("m");
  const Receipt registered = world_->Must(world_->CorpusCommand(model, 2));
  world_->Must(world_->IngestCommand(world_->Lease(*registered.job), 2));
  const CorpusRecord corpus = Corpus(model);
  world_->Must(world_->TrainCommand(world_->Lease(world_->Job(corpus.shards(0).job_id()))));
  const JobRecord job = world_->Lease(world_->Job(corpus.shards(1).job_id()));
  world_->Must(Failure(job, FailureCause::kMethod));
  EXPECT_EQ(Teacher(model, 0), TeacherState::kReady);
  EXPECT_EQ(Teacher(model, 1), TeacherState::kFailed);
  EXPECT_EQ(StateOf(model), CorpusState::kReady);
  EXPECT_EQ(world_->Fsck(), "");
}

TEST_F(Corpora, CompletedOnlyWhenTheTeachersAreCleanToo) {
  const ModelId model = world_->ReadyModel("m");
  world_->ReadyCorpus(model, 3);
  const TicketId first = world_->FileInCorpus(model, {0});
  const TicketId second = world_->FileInCorpus(model, {0, 2});
  const TicketId text = world_->File(model);  // of which the corpus has nothing
  const JobRecord retrain = ToErasing(model, {first, second, text});

  EXPECT_EQ(world_->State(first), TicketState::kErasing);
  EXPECT_EQ(world_->State(second), TicketState::kErasing);
  EXPECT_EQ(world_->State(text), TicketState::kCompleted);
  EXPECT_TRUE(store_->Snapshot()->FindPayload(first)->has_value());
  EXPECT_EQ(world_->Model(model).generation(), 2u);
  EXPECT_EQ(std::vector<int32_t>(retrain.shards().begin(), retrain.shards().end()),
            (std::vector<int32_t>{0, 2}));
  EXPECT_EQ(Teacher(model, 0), TeacherState::kStale);
  EXPECT_EQ(Teacher(model, 1), TeacherState::kReady);
  EXPECT_EQ(Teacher(model, 2), TeacherState::kStale);
  EXPECT_EQ(world_->Fsck(), "");

  const CompleteRetrain done = world_->RetrainCommand(retrain);
  world_->Must(done);
  for (const TicketId& id : {first, second}) {
    EXPECT_EQ(world_->State(id), TicketState::kCompleted);
    EXPECT_EQ(world_->Ticket(id).reason(), v1::TICKET_REASON_FORGOTTEN);
    EXPECT_FALSE(store_->Snapshot()->FindPayload(id)->has_value());
    EXPECT_FALSE(store_->Snapshot()->FindKey(id)->has_value());
  }
  EXPECT_EQ(Teacher(model, 0), TeacherState::kReady);
  EXPECT_EQ(Teacher(model, 2), TeacherState::kReady);
  EXPECT_TRUE(world_->Model(model).active_job_id().empty());
  EXPECT_TRUE(world_->Must(done).repeated);
  EXPECT_EQ(world_->Fsck(), "");
}

TEST_F(Corpora, WhatIsBeingErasedCanNeitherBeHeldNorWithdrawn) {
  const ModelId model = world_->ReadyModel("m");
  world_->ReadyCorpus(model, 2);
  const TicketId ticket = world_->FileInCorpus(model, {1});
  ToErasing(model, {ticket});
  EXPECT_EQ(Refusal(HoldTicket{.actor = "o", .ticket = ticket}), "WRONG_STATE");
  EXPECT_EQ(Refusal(CancelTicket{.actor = "o", .ticket = ticket}), "WRONG_STATE");
  EXPECT_EQ(world_->State(ticket), TicketState::kErasing);
  EXPECT_EQ(world_->Fsck(), "");
}

TEST_F(Corpora, ATicketThatCouldNotBeErasedFailsAndCanBeTriedAgain) {
  const ModelId model = world_->ReadyModel("m");
  world_->ReadyCorpus(model, 2);
  const TicketId ticket = world_->FileInCorpus(model, {1});
  JobRecord retrain = ToErasing(model, {ticket});
  world_->Must(Failure(retrain, FailureCause::kMethod));
  EXPECT_EQ(world_->State(ticket), TicketState::kFailed);
  EXPECT_EQ(Teacher(model, 1), TeacherState::kStale) << "it may still know the text";
  EXPECT_EQ(Corpus(model).shards(1).failure_reason(), "SUBJECT_MISSING");
  EXPECT_TRUE(world_->Model(model).active_job_id().empty());
  EXPECT_EQ(world_->Fsck(), "");

  world_->Must(RetryTicket{.actor = "o", .ticket = ticket});
  retrain = ToErasing(model, {ticket});
  world_->Must(world_->RetrainCommand(retrain));
  EXPECT_EQ(world_->State(ticket), TicketState::kCompleted);
  EXPECT_EQ(Teacher(model, 1), TeacherState::kReady);
  EXPECT_EQ(world_->Fsck(), "");
}

TEST_F(Corpora, ALostWorkerGivesTheSameJobBack) {
  const ModelId model = world_->ReadyModel("m");
  world_->ReadyCorpus(model, 2);
  const TicketId ticket = world_->FileInCorpus(model, {1});
  const JobRecord retrain = ToErasing(model, {ticket});
  clock_.Advance(absl::Minutes(5));
  world_->Must(ExpireLeases{.actor = "server"});
  EXPECT_EQ(world_->State(ticket), TicketState::kErasing);
  EXPECT_EQ(Refusal(world_->RetrainCommand(retrain)), "LEASE_LOST");
  const JobRecord again = world_->Lease(world_->Job(retrain.job_id()));
  world_->Must(world_->RetrainCommand(again));
  EXPECT_EQ(world_->State(ticket), TicketState::kCompleted);
  EXPECT_EQ(world_->Fsck(), "");
}

TEST_F(Corpora, APersonsPromotionErasesToo) {
  const ModelId model = world_->ReadyModel("m");
  world_->ReadyCorpus(model, 2);
  const TicketId ticket = world_->FileInCorpus(model, {0});
  const JobRecord verify = world_->Unlearn(world_->Lease(world_->Form(model, {ticket})));
  const Receipt promoted =
      world_->Must(PromoteCheckpoint{.actor = "boss",
                                     .model = model,
                                     .checkpoint = CheckpointId{verify.candidate_checkpoint_id()},
                                     .expected_generation = Generation{1},
                                     .reason = "it will do",
                                     .retrain_job = JobId{NewId(world_->random(), 'j')}});
  EXPECT_EQ(world_->State(ticket), TicketState::kErasing);
  const JobRecord retrain = world_->Lease(world_->Job(promoted.model->active_job_id()));
  world_->Must(world_->RetrainCommand(retrain));
  EXPECT_EQ(world_->State(ticket), TicketState::kCompleted);
  EXPECT_EQ(world_->Ticket(ticket).reason(), v1::TICKET_REASON_OVERRIDDEN);
  EXPECT_EQ(world_->Fsck(), "");
}

TEST_F(Corpora, BadResultsChangeNothing) {
  const ModelId model = world_->ReadyModel("m");
  const Receipt registered = world_->Must(world_->CorpusCommand(model, 2));
  const JobRecord ingest = world_->Lease(*registered.job);
  CompleteIngest read = world_->IngestCommand(ingest, 1);  // one job for two shards
  EXPECT_EQ(Refusal(read), "COMMAND_MALFORMED");
  read = world_->IngestCommand(ingest, 2);
  read.sequences = 0;
  EXPECT_EQ(Refusal(read), "RESULT_MALFORMED");
  world_->Must(world_->IngestCommand(ingest, 2));
  const JobRecord train = world_->Lease(world_->Job(Corpus(model).shards(0).job_id()));
  CompleteTrain trained = world_->TrainCommand(train);
  trained.teacher.shard = 1;
  EXPECT_EQ(Refusal(trained), "RESULT_MISMATCH");
  trained = world_->TrainCommand(train);
  trained.teacher.state_key.clear();
  EXPECT_EQ(Refusal(trained), "RESULT_MALFORMED");
  world_->Must(world_->TrainCommand(train));
  world_->Must(world_->TrainCommand(world_->Lease(world_->Job(Corpus(model).shards(1).job_id()))));

  NewTicket ticket = world_->Draft(model, "r", "text");
  ticket.corpus_sequences = 1;
  ticket.corpus_shards = {2};
  EXPECT_EQ(Refusal(CreateTickets{.actor = "o", .tickets = {ticket}}), "CORPUS_CHANGED");
  ticket.corpus_shards = {1, 0};
  EXPECT_EQ(Refusal(CreateTickets{.actor = "o", .tickets = {ticket}}), "CORPUS_CHANGED");
  ticket.corpus_shards = {};
  EXPECT_EQ(Refusal(CreateTickets{.actor = "o", .tickets = {ticket}}), "COMMAND_MALFORMED");

  const JobRecord retrain = ToErasing(model, {world_->FileInCorpus(model, {0, 1})});
  CompleteRetrain done = world_->RetrainCommand(retrain);
  done.teachers.pop_back();
  EXPECT_EQ(Refusal(done), "RESULT_MISMATCH");
  EXPECT_EQ(world_->Fsck(), "");
}

}  // namespace
}  // namespace lethe::storage
