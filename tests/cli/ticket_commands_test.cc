#include "cli/estimate_view.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/cli/cli_harness.h"

namespace lethe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::SizeIs;

class TicketCommands : public CliHarness {};

TEST_F(TicketCommands, GetShowsTheTicket) {
  tickets_.ticket = Queued();
  EXPECT_EQ(Lethe({"ticket", "get", "t-1"}), 0);
  EXPECT_EQ(out_,
            "ticket:  t-00000000000000000000000000000001\n"
            "model:   chat\n"
            "state:   QUEUED\n"
            "size:    3 sequences, 1,234 tokens\n"
            "law:     GDPR\n"
            "filed:   2026-09-21 14:13:20 UTC\n"
            "due:     2026-10-21 19:13:20 UTC, in 30 d 5 h\n"
            "rung:    0\n"
            "etag:    \"5\"\n");
}

TEST_F(TicketCommands, ListShowsATableAndFollowsPages) {
  for (int i = 0; i < 3; ++i) tickets_.tickets.push_back(Queued());
  tickets_.tickets[1].set_state(v1::TICKET_STATE_FAILED);
  tickets_.tickets[1].set_reason(v1::TICKET_REASON_VERIFICATION_FAILED);
  tickets_.tickets[2].set_held(true);
  EXPECT_EQ(Lethe({"ticket", "list", "--model", "chat", "--state", "QUEUED", "--state", "FAILED"}),
            0);
  EXPECT_EQ(out_,
            "TICKET                              MODEL  STATE          REASON               "
            "SEQUENCES  TOKENS  RUNG  DUE\n"
            "t-00000000000000000000000000000001  chat   QUEUED                              3      "
            "    1,234   0     in 30 d 5 h\n"
            "t-00000000000000000000000000000001  chat   FAILED         VERIFICATION_FAILED  3      "
            "    1,234   0     in 30 d 5 h\n"
            "t-00000000000000000000000000000001  chat   QUEUED (held)                       3      "
            "    1,234   0     in 30 d 5 h\n");
  EXPECT_EQ(tickets_.list.model_id(), "chat");
  EXPECT_THAT(tickets_.list.states(),
              ElementsAre(v1::TICKET_STATE_QUEUED, v1::TICKET_STATE_FAILED));

  EXPECT_EQ(Lethe({"ticket", "list", "--limit", "2"}), 0);
  EXPECT_THAT(err_, HasSubstr("there are more"));
  EXPECT_EQ(std::count(out_.begin(), out_.end(), '\n'), 3);
  // --all asks for page after page.
  tickets_.tickets.resize(1500, Queued());
  EXPECT_EQ(Lethe({"ticket", "list", "--all", "--output", "json"}), 0);
  EXPECT_THAT(nlohmann::json::parse(out_)["tickets"], SizeIs(1500));
}

TEST_F(TicketCommands, CreateMarksTheSensitiveWordsAsBytes) {
  tickets_.ticket = Queued();
  // "Zoë" takes four bytes; the number occurs twice.
  const std::string text = "Zoë: 555-0100, again 555-0100.";
  EXPECT_EQ(Lethe({"ticket", "create", "--model", "chat", "--text", text, "--sensitive", "555-0100",
                   "--request-id", "r-1", "--regulation", "CCPA", "--reference", "case/7"}),
            0);
  ASSERT_THAT(tickets_.creates, SizeIs(1));
  const v1::CreateTicketRequest& request = tickets_.creates[0];
  EXPECT_EQ(request.request_id(), "r-1");
  EXPECT_EQ(request.model_id(), "chat");
  EXPECT_EQ(request.regulation(), v1::REGULATION_CCPA);
  EXPECT_EQ(request.external_reference(), "case/7");
  ASSERT_EQ(request.targets_size(), 1);
  EXPECT_EQ(request.targets(0).text(), text);
  ASSERT_EQ(request.targets(0).sensitive_spans_size(), 2);
  EXPECT_EQ(request.targets(0).sensitive_spans(0).begin(), 6);
  EXPECT_EQ(request.targets(0).sensitive_spans(0).end(), 14);
  EXPECT_EQ(request.targets(0).sensitive_spans(1).begin(), 22);
  EXPECT_EQ(err_, "");
}

TEST_F(TicketCommands, CreateTellsItsRequestIdBeforeItSends) {
  tickets_.answer = WireError(grpc::StatusCode::INVALID_ARGUMENT, "TARGET_TOO_SHORT", "too short",
                              {{"field", "targets[0].text"}});
  EXPECT_EQ(Lethe({"ticket", "create", "--model", "chat", "--text", "x"}), 1);
  EXPECT_THAT(err_,
              MatchesRegex("request id: [0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-"
                           "[0-9a-f]{12}\n"
                           "lethe: too short \\(INVALID_ARGUMENT, TARGET_TOO_SHORT\\)\n"
                           "  field: targets\\[0\\].text\n"));
}

TEST_F(TicketCommands, CreateTakesManyTargets) {
  tickets_.ticket = Queued();
  const std::string file = WriteFile("wish.txt", "from a file\n");
  stdin_ =
      "{\"text\": \"one 1\", \"sensitive\": [\"1\"]}\n\n{\"ids\": [5, 8], \"sensitive_spans\": "
      "[[1, 2]]}\n";
  EXPECT_EQ(
      Lethe({"ticket", "create", "--model", "chat", "--text", "a", "--text", "b", "--text-file",
             file, "--prompt", "Who?", "--answer", " Jane", "--ids", "1,2 3", "--from-jsonl", "-"}),
      0);
  const v1::CreateTicketRequest& request = tickets_.creates.at(0);
  ASSERT_EQ(request.targets_size(), 7);
  EXPECT_EQ(request.targets(2).text(), "from a file");
  EXPECT_EQ(request.targets(3).prompt_answer().answer(), " Jane");
  EXPECT_THAT(request.targets(4).ids().ids(), ElementsAre(1, 2, 3));
  EXPECT_EQ(request.targets(5).sensitive_spans(0).begin(), 4);
  EXPECT_EQ(request.targets(6).sensitive_spans(0).begin(), 1);
}

TEST_F(TicketCommands, CreateNamesPeopleAndDocumentsOfTheCorpus) {
  tickets_.ticket = Queued();
  stdin_ = "{\"subject\": \"p-1\"}\n{\"document\": \"d-1\"}\n";
  EXPECT_EQ(
      Lethe({"ticket", "create", "--model", "chat", "--subject", "p-17", "--subject", "p 18",
             "--document", "mail-3", "--text", "call 5", "--sensitive", "5", "--from-jsonl", "-"}),
      0)
      << err_;
  const v1::CreateTicketRequest& request = tickets_.creates.at(0);
  ASSERT_EQ(request.targets_size(), 6);
  EXPECT_EQ(request.targets(0).subject(), "p-17");
  EXPECT_EQ(request.targets(1).subject(), "p 18");
  EXPECT_EQ(request.targets(2).document(), "mail-3");
  EXPECT_EQ(request.targets(3).text(), "call 5");
  EXPECT_EQ(request.targets(3).sensitive_spans_size(), 1);
  EXPECT_EQ(request.targets(4).subject(), "p-1");
  EXPECT_EQ(request.targets(5).document(), "d-1");
  for (const int i : {0, 1, 2, 4, 5}) EXPECT_EQ(request.targets(i).sensitive_spans_size(), 0);
}

TEST_F(TicketCommands, ATicketForEachLineIsOneBatch) {
  stdin_ =
      "{\"text\": \"one\", \"external_reference\": \"c1\"}\n{\"text\": \"two\", \"request_id\": "
      "\"own\"}\n";
  EXPECT_EQ(Lethe({"ticket", "create", "--model", "chat", "--from-jsonl", "-", "--ticket-per-line",
                   "--request-id", "r"}),
            0);
  EXPECT_EQ(out_, "t-0\nt-1\n");
  ASSERT_EQ(tickets_.batch.requests_size(), 2);
  EXPECT_EQ(tickets_.batch.requests(0).request_id(), "r-1");
  EXPECT_EQ(tickets_.batch.requests(0).external_reference(), "c1");
  EXPECT_EQ(tickets_.batch.requests(1).request_id(), "own");
}

TEST_F(TicketCommands, MistakesAreFoundBeforeAnythingIsSent) {
  const std::vector<std::vector<std::string>> kMistakes = {
      {"ticket", "create", "--model", "chat"},  // nothing to forget
      {"ticket", "create", "--text", "a"},      // no model
      {"ticket", "create", "--model", "chat", "--text", "abc", "--sensitive",
       "xyz"},                                                     // does not occur
      {"ticket", "create", "--model", "chat", "--prompt", "who"},  // no answer
      {"ticket", "create", "--model", "chat", "--ids", "1,x"},     // no number
      {"ticket", "create", "--model", "chat", "--subject", "p", "--sensitive", "xyz"},  // of what?
      {"ticket", "create", "--model", "chat", "--text-file", "/does/not/exist"},        //
      {"ticket", "create", "--model", "chat", "--text", "a", "--due", "tomorrow"},      // no time
      {"ticket", "create", "--model", "chat", "--text", "a", "--regulation", "LAW"},    //
      {"ticket", "list", "--state", "LOST"},                                            //
      {"ticket", "deny", "t-1", "--reason", "BECAUSE"},                                 //
      {"ticket", "extend", "t-1"},                                                      // no reason
      {"ticket"},
      {"no-such-command"},
  };
  for (const auto& arguments : kMistakes) {
    EXPECT_EQ(Lethe(arguments), 2) << ::testing::PrintToString(arguments);
    EXPECT_THAT(err_, Not(::testing::IsEmpty())) << ::testing::PrintToString(arguments);
    EXPECT_THAT(err_, Not(HasSubstr("xyz"))) << "a message must not quote the text";
  }
  EXPECT_THAT(tickets_.creates, SizeIs(0));
  for (const char* line : {"{\"txt\": \"a\"}", "{}", "[1]", "{\"text\": 5}", "not json",
                           "{\"text\": \"a\", \"ids\": [1]}", "{\"ids\": [1.5]}",
                           "{\"ids\": [1], \"sensitive\": [\"a\"]}", "{\"subject\": 5}",
                           "{\"subject\": \"p\", \"document\": \"d\"}",
                           "{\"subject\": \"p\", \"sensitive\": [\"a\"]}"}) {
    stdin_ = std::string("{\"text\": \"fine\"}\n") + line + "\n";
    EXPECT_EQ(Lethe({"ticket", "create", "--model", "chat", "--from-jsonl", "-"}), 2) << line;
    EXPECT_THAT(err_, HasSubstr("line 2")) << line;
  }
}

TEST_F(TicketCommands, ValidateOnlyShowsThePreview) {
  v1::Ticket preview;
  preview.set_model_id("chat");
  preview.set_sequences(2);
  preview.set_tokens(30);
  preview.mutable_preview()->add_target_tokens(10);
  preview.mutable_preview()->add_target_tokens(20);
  preview.mutable_preview()->set_tickets_ahead(4);
  preview.mutable_preview()->set_first_rung("gradient_ascent/calibrated");
  tickets_.ticket = preview;
  EXPECT_EQ(Lethe({"ticket", "create", "--model", "chat", "--text", "a", "--validate-only"}), 0);
  EXPECT_TRUE(tickets_.creates.at(0).validate_only());
  EXPECT_THAT(out_, HasSubstr("state:   valid; nothing was filed\n"));
  EXPECT_THAT(out_, HasSubstr("tokens:  10, 20\n"));
  EXPECT_THAT(out_, HasSubstr("waits:   4 tickets ahead\n"));
  EXPECT_THAT(out_, HasSubstr("method:  gradient_ascent/calibrated\n"));
}

void Set(v1::DurationRange* range, int64_t low, int64_t typical, int64_t high) {
  range->mutable_low()->set_seconds(low);
  range->mutable_typical()->set_seconds(typical);
  range->mutable_high()->set_seconds(high);
}

TEST_F(TicketCommands, ValidateOnlySaysHowLongItWillTake) {
  v1::Ticket ticket;
  v1::TicketPreview* preview = ticket.mutable_preview();
  preview->set_tickets_ahead(3);
  v1::TicketEstimate* estimate = preview->mutable_estimate();
  Set(estimate->mutable_run(), 241, 301, 540);
  Set(estimate->mutable_wait(), 40, 50, 240);
  Set(estimate->mutable_unlearn(), 0, 200, 0);
  Set(estimate->mutable_verify(), 0, 61, 0);
  estimate->mutable_steps()->set_typical(110);
  estimate->set_tickets_together(4);
  estimate->set_device_bytes(1'234'000'000);
  estimate->set_worker_memory_bytes(16'000'000'000);
  preview->add_notices()->set_sentence("so it is");
  tickets_.ticket = ticket;
  const std::vector<std::string> command = {"ticket", "create", "--model",        "chat",
                                            "--text", "a",      "--validate-only"};
  EXPECT_EQ(Lethe(command), 0);
  EXPECT_THAT(out_, HasSubstr("takes:   about 4 to 9 minutes once a worker takes it, as a rule 5 "
                              "minutes: 3 minutes to unlearn (about 110 steps, as the preset takes "
                              "them) and 60 seconds to verify, together with 3 other tickets\n"));
  EXPECT_THAT(out_,
              HasSubstr("waits:   about 40 seconds to 4 minutes first: 3 tickets wait for this "
                        "model before it\n"));
  EXPECT_THAT(out_, HasSubstr("memory:  about 1.2 GB of the 16 GB that the worker has which "
                              "prepared the model\n"));
  EXPECT_THAT(out_, HasSubstr("note:    so it is\n"));

  estimate->set_past_runs(2);
  Set(estimate->mutable_wait(), 0, 0, 0);
  tickets_.ticket = ticket;
  EXPECT_EQ(Lethe(command), 0);
  EXPECT_THAT(out_, HasSubstr("as the model's last 2 runs took them"));
  EXPECT_THAT(out_, HasSubstr("waits:   3 tickets wait for this model before it\n"));

  std::vector<std::string> as_json = command;
  as_json.insert(as_json.end(), {"--output", "json"});
  EXPECT_EQ(Lethe(as_json), 0);
  const auto parsed = nlohmann::json::parse(out_);
  EXPECT_EQ(parsed["preview"]["estimate"]["run"]["typical"], "301s");
  EXPECT_EQ(parsed["preview"]["estimate"]["device_bytes"], "1234000000");
}

TEST_F(TicketCommands, ValidateOnlySaysWhatOfTheCorpusGoes) {
  v1::Ticket ticket;
  v1::CorpusPreview* corpus = ticket.mutable_preview()->mutable_corpus();
  corpus->set_sequences(21);
  corpus->add_shards(2);
  corpus->set_of_shards(4);
  corpus->set_slices(3);
  corpus->set_retrain_tokens(1'234'000);
  Set(corpus->mutable_retrain(), 41, 41, 41);
  corpus->set_teachers_left(3);
  corpus->set_near_copies(2);
  ticket.mutable_preview()->add_notices()->set_sentence("copies stay");
  tickets_.ticket = ticket;
  const std::vector<std::string> command = {"ticket",    "create", "--model",        "chat",
                                            "--subject", "p-17",   "--validate-only"};
  EXPECT_EQ(Lethe(command), 0);
  EXPECT_TRUE(tickets_.creates.at(0).validate_only());
  EXPECT_THAT(out_, HasSubstr("erases:    21 sequences in 1 of 4 shards (3 slices)\n"
                              "retrains:  1,234,000 tokens are trained again, about 40 seconds\n"
                              "teachers:  3 of 4 may teach\n"
                              "copies:    2 sequences of other people share much of the text and "
                              "stay\n"));
  EXPECT_THAT(out_, HasSubstr("note:      copies stay\n"));

  // Before a teacher was trained, and where nobody has a copy.
  corpus->clear_retrain();
  corpus->clear_near_copies();
  corpus->set_sequences(1);
  corpus->set_slices(1);
  tickets_.ticket = ticket;
  EXPECT_EQ(Lethe(command), 0);
  EXPECT_THAT(out_, HasSubstr("erases:    1 sequence in 1 of 4 shards (1 slice)\n"));
  EXPECT_THAT(out_, HasSubstr("how long is not known: no teacher was trained yet\n"));
  EXPECT_THAT(out_, Not(HasSubstr("copies:")));

  std::vector<std::string> as_json = command;
  as_json.insert(as_json.end(), {"--output", "json"});
  EXPECT_EQ(Lethe(as_json), 0);
  EXPECT_EQ(nlohmann::json::parse(out_)["preview"]["corpus"]["retrain_tokens"], "1234000");
}

// The states of a ticket whose text stands in a corpus.
TEST_F(TicketCommands, ErasingIsShownWithWhatGoes) {
  v1::Ticket ticket = Queued();
  ticket.mutable_corpus()->set_sequences(21);
  ticket.mutable_corpus()->add_shards(0);
  ticket.mutable_corpus()->add_shards(2);
  tickets_.updates.push_back(ticket);
  ticket.set_state(v1::TICKET_STATE_ERASING);
  tickets_.updates.push_back(ticket);
  ticket.mutable_progress()->set_phase("training");
  (*ticket.mutable_progress()->mutable_figures())["shard"] = 2;
  ticket.mutable_progress()->set_step(5);
  ticket.mutable_progress()->set_max_steps(10);
  tickets_.updates.push_back(ticket);
  ticket.clear_progress();
  ticket.set_state(v1::TICKET_STATE_COMPLETED);
  ticket.set_reason(v1::TICKET_REASON_FORGOTTEN);
  tickets_.updates.push_back(ticket);
  EXPECT_EQ(Lethe({"ticket", "watch", "t-1"}), 0);
  EXPECT_EQ(err_,
            "QUEUED\n"
            "ERASING 21 sequences in shards 0 and 2\n"
            "ERASING 21 sequences in shards 0 and 2  training [##########..........] 5/10  "
            "shard 2\n"
            "COMPLETED, FORGOTTEN\n");
  EXPECT_THAT(out_, HasSubstr("corpus:  21 sequences in shards 0 and 2: erased, and the teachers "
                              "trained again without them\n"));

  ticket.set_state(v1::TICKET_STATE_ERASING);
  ticket.clear_reason();
  ticket.mutable_corpus()->clear_shards();
  ticket.mutable_corpus()->add_shards(3);
  tickets_.ticket = ticket;
  EXPECT_EQ(Lethe({"ticket", "get", "t-1"}), 0);
  EXPECT_THAT(out_, HasSubstr("state:   ERASING\n"));
  EXPECT_THAT(out_, HasSubstr("corpus:  21 sequences in shard 3: being erased, and the teachers "
                              "trained again without them\n"));
  tickets_.tickets = {Queued(), ticket};
  EXPECT_EQ(Lethe({"ticket", "list", "--state", "ERASING"}), 0);
  EXPECT_THAT(tickets_.list.states(), ElementsAre(v1::TICKET_STATE_ERASING));
  EXPECT_THAT(out_, HasSubstr("DUE          CORPUS\n"));
  EXPECT_THAT(out_, HasSubstr("in 30 d 5 h  21 sequences in shard 3\n"));
}

TEST(EstimateView, SpansAreSaidAsPeopleSayThem) {
  EXPECT_EQ(SpanText(0, 0), "1 second");
  EXPECT_EQ(SpanText(3, 47), "3 to 45 seconds");
  EXPECT_EQ(SpanText(61, 61), "60 seconds");
  EXPECT_EQ(SpanText(50, 130), "50 seconds to 2 minutes");
  EXPECT_EQ(SpanText(7200, 7300), "2 hours");
  EXPECT_EQ(SpanText(80 * 60, 5 * 3600), "80 minutes to 5 hours");
  EXPECT_EQ(SpanText(86400, 366 * 86400.0), "24 hours to 365 days");
}

TEST_F(TicketCommands, WatchEndsWithTheTicket) {
  v1::Ticket ticket = Queued();
  tickets_.updates.push_back(ticket);
  ticket.set_state(v1::TICKET_STATE_UNLEARNING);
  ticket.mutable_progress()->set_phase("unlearning");
  ticket.mutable_progress()->set_max_steps(40);
  for (int step : {0, 1, 10, 30}) {
    ticket.mutable_progress()->set_step(step);
    (*ticket.mutable_progress()->mutable_figures())["loss"] = 2.5;
    tickets_.updates.push_back(ticket);
  }
  ticket.clear_progress();
  ticket.set_state(v1::TICKET_STATE_COMPLETED);
  ticket.set_reason(v1::TICKET_REASON_FORGOTTEN);
  tickets_.updates.push_back(ticket);

  EXPECT_EQ(Lethe({"ticket", "watch", "t-1"}), 0);
  // Step 1 of 40 is no new tenth: no line.
  EXPECT_EQ(err_,
            "QUEUED\n"
            "UNLEARNING  unlearning [....................] 0/40  loss 2.5\n"
            "UNLEARNING  unlearning [#####...............] 10/40  loss 2.5\n"
            "UNLEARNING  unlearning [###############.....] 30/40  loss 2.5\n"
            "COMPLETED, FORGOTTEN\n");
  EXPECT_THAT(out_, HasSubstr("state:   COMPLETED, FORGOTTEN\n"));

  EXPECT_EQ(Lethe({"ticket", "watch", "t-1", "--output", "json"}), 0);
  std::istringstream lines(out_);
  std::string line;
  int count = 0;
  while (std::getline(lines, line)) {
    EXPECT_TRUE(nlohmann::json::accept(line)) << line;
    ++count;
  }
  EXPECT_EQ(count, 6);

  terminal_ = true;
  EXPECT_EQ(Lethe({"ticket", "watch", "t-1"}), 0);
  EXPECT_THAT(err_, HasSubstr("\r\x1b[KUNLEARNING  unlearning [#####...............] 10/40"));
}

TEST_F(TicketCommands, WaitForATicketThatFailsEndsWithOne) {
  tickets_.ticket = Queued();
  v1::Ticket failed = Queued();
  failed.set_state(v1::TICKET_STATE_FAILED);
  failed.set_reason(v1::TICKET_REASON_VERIFICATION_FAILED);
  tickets_.updates = {failed};
  EXPECT_EQ(Lethe({"ticket", "create", "--model", "chat", "--text", "a", "--wait"}), 1);
  EXPECT_THAT(err_, HasSubstr("lethe report show"));
}

TEST_F(TicketCommands, VerbsReachTheServerWithTheirArguments) {
  tickets_.ticket = Queued();
  for (const char* verb : {"approve", "hold", "release", "cancel", "retry"}) {
    EXPECT_EQ(Lethe({"ticket", verb, "t-1", "--etag", "7"}), 0) << err_;
  }
  EXPECT_EQ(Lethe({"ticket", "deny", "t-1", "--reason", "NO_MATCH"}), 0);
  EXPECT_EQ(Lethe({"ticket", "extend", "t-1", "--reason", "many", "--due", "2026-12-31T12:00:00Z"}),
            0);
  EXPECT_THAT(tickets_.verbs,
              ElementsAre("approve t-1 7", "hold t-1 7", "release t-1 7", "cancel t-1 7",
                          "retry t-1 7", "deny t-1 ", "extend t-1 "));
  EXPECT_EQ(tickets_.deny.reason(), v1::TICKET_REASON_NO_MATCH);
  EXPECT_EQ(tickets_.extend.reason(), "many");
  EXPECT_EQ(tickets_.extend.due_time().seconds(), 1798718400);  // date -d 2026-12-31T12:00:00Z +%s
}

TEST_F(TicketCommands, ErrorsSayWhatToDo) {
  tickets_.answer = WireError(grpc::StatusCode::NOT_FOUND, "TICKET_NOT_FOUND",
                              "there is no ticket of that id", {{"ticket", "t-1"}});
  EXPECT_EQ(Lethe({"ticket", "get", "t-1"}), 1);
  EXPECT_EQ(err_,
            "lethe: there is no ticket of that id (NOT_FOUND, TICKET_NOT_FOUND)\n"
            "  ticket: t-1\n"
            "what to do: `lethe ticket list` shows the tickets\n");
  EXPECT_EQ(Lethe({"ticket", "get", "t-1", "--output", "json"}), 1);
  const auto error = nlohmann::json::parse(err_)["error"];
  EXPECT_EQ(error["reason"], "TICKET_NOT_FOUND");
  EXPECT_EQ(error["metadata"]["ticket"], "t-1");
}

TEST_F(TicketCommands, NobodyThereIsThree) {
  server_.Stop();
  EXPECT_EQ(Lethe({"ticket", "list"}), 3);
  EXPECT_THAT(err_, HasSubstr("no server answers at " + server_.address()));
  EXPECT_THAT(err_, HasSubstr("lethe up"));
  EXPECT_EQ(Bare({"lethe", "--server", "nonsense", "ticket", "list"}), 2);
}

}  // namespace
}  // namespace lethe
