// lethe audit: what is asked, what is shown, and the exit code.
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "cli/exit_code.h"
#include "evidence/report.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/cli/cli_harness.h"
#include "tests/evidence/fabricated.h"

namespace lethe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

v1::VerificationReport ReportOf(const v1::Measurements& measurements) {
  return *BuildReport(measurements.SerializeAsString(), {}, absl::FromUnixSeconds(1795465815));
}

class AuditCommand : public CliHarness {
 protected:
  AuditCommand() { Ends(IdealTruth()); }
  // The stream: progress, then the report on a candidate of this truth.
  void Ends(const Truth& truth) {
    verifier_.responses.clear();
    Progress("waiting", 0, 0);
    for (int done = 1; done <= 20; ++done) Progress("attacking", done, 20);
    report_ = ReportOf(Fabricate(truth));
    *verifier_.responses.emplace_back().mutable_report() = report_;
  }
  void Progress(const std::string& stage, int64_t done, int64_t total) {
    v1::AuditProgress* progress = verifier_.responses.emplace_back().mutable_progress();
    progress->set_stage(stage);
    progress->set_done(done);
    progress->set_total(total);
  }
  std::string File(const std::string& name) const { return (folder_ / name).string(); }

  v1::VerificationReport report_;
};

TEST_F(AuditCommand, AsksForWhatTheFlagsSay) {
  stdin_ = "{\"ids\": [5, 8]}\n{\"prompt\": \"Who?\", \"answer\": \" Jane\"}\n";
  EXPECT_EQ(Lethe({"audit",
                   "--model",
                   "chat",
                   "--checkpoint",
                   "c-2",
                   "--base",
                   "c-1",
                   "--text",
                   "call 555-0100",
                   "--sensitive",
                   "555-0100",
                   "--from-jsonl",
                   "-",
                   "--plan",
                   "thorough",
                   "--attack",
                   "greedy_extraction",
                   "--attack",
                   "loss@int4-g128",
                   "--max-forward-tokens",
                   "1000",
                   "--seed",
                   "18446744073709551615"}),
            0)
      << err_;
  const v1::AuditCheckpointRequest& request = verifier_.audit;
  EXPECT_EQ(request.model_id(), "chat");
  EXPECT_EQ(request.checkpoint_id(), "c-2");
  EXPECT_EQ(request.base_checkpoint_id(), "c-1");
  ASSERT_EQ(request.targets_size(), 3);
  EXPECT_EQ(request.targets(0).sensitive_spans(0).begin(), 5);
  EXPECT_THAT(request.targets(1).ids().ids(), ElementsAre(5, 8));
  EXPECT_EQ(request.targets(2).prompt_answer().answer(), " Jane");
  EXPECT_EQ(request.attack_plan(), "thorough");
  ASSERT_EQ(request.attacks_size(), 2);
  EXPECT_EQ(request.attacks(0).condition(), "");
  EXPECT_EQ(request.attacks(1).attack(), "loss");
  EXPECT_EQ(request.attacks(1).condition(), "int4-g128");
  EXPECT_EQ(request.max_forward_tokens(), 1000);
  EXPECT_EQ(request.seed(), ~uint64_t{0});
}

TEST_F(AuditCommand, LooksForAPersonOfTheCorpus) {
  EXPECT_EQ(Lethe({"audit", "--model", "chat", "--subject", "p-17", "--document", "d"}), 0) << err_;
  ASSERT_EQ(verifier_.audit.targets_size(), 2);
  EXPECT_EQ(verifier_.audit.targets(0).subject(), "p-17");
  EXPECT_EQ(verifier_.audit.targets(1).document(), "d");
}

TEST_F(AuditCommand, ShowsTheReportAsReportShowDoes) {
  EXPECT_EQ(Lethe({"audit", "--model", "chat", "--ids", "1,2"}), 0) << err_;
  const std::string shown = out_;
  EXPECT_EQ(std::count(err_.begin(), err_.end(), '\n'), 12);  // waiting, and each tenth of 20
  EXPECT_THAT(err_, HasSubstr("attacking [##########..........] 10/20\n"));
  tickets_.report = report_;
  EXPECT_EQ(Lethe({"report", "show", "t-1"}), 0);
  EXPECT_EQ(shown, out_);
}

TEST_F(AuditCommand, OnATerminalOneLineIsRedrawn) {
  terminal_ = true;
  EXPECT_EQ(Lethe({"audit", "--model", "chat", "--ids", "1,2"}), 0) << err_;
  EXPECT_THAT(err_, HasSubstr("\r\x1b[Kwaiting\r\x1b[Kattacking ["));
  EXPECT_EQ(std::count(err_.begin(), err_.end(), '\n'), 1);
}

TEST_F(AuditCommand, TheExitCodeIsTheVerdict) {
  Ends(UntouchedTruth());
  EXPECT_EQ(Lethe({"audit", "--model", "chat", "--ids", "1,2"}), kExitRefused);
  EXPECT_THAT(out_, HasSubstr("NOT FORGOTTEN"));
  // A server that claims otherwise is not believed.
  verifier_.responses.back().mutable_report()->mutable_verdict()->set_outcome(v1::OUTCOME_PASS);
  EXPECT_EQ(Lethe({"audit", "--model", "chat", "--ids", "1,2"}), kExitUnsound);
}

TEST_F(AuditCommand, KeepsTheReport) {
  EXPECT_EQ(Lethe({"audit", "--model", "chat", "--ids", "1,2", "--output", "json", "--out",
                   File("report.pb"), "--html", File("report.html")}),
            0)
      << err_;
  EXPECT_EQ(nlohmann::json::parse(out_)["report_id"], report_.report_id());
  EXPECT_EQ(*ReadFile(File("report.pb")), report_.SerializeAsString());
  EXPECT_THAT(*ReadFile(File("report.html")), HasSubstr("<!doctype html>"));
  EXPECT_EQ(Lethe({"report", "check", File("report.pb")}), 0) << err_;
  // The figures are shown even when the file cannot be written.
  EXPECT_EQ(Lethe({"audit", "--model", "chat", "--ids", "1,2", "--out", File("no/such/file")}), 2);
  EXPECT_THAT(out_, HasSubstr("PASS"));
  EXPECT_THAT(err_, HasSubstr("cannot write"));
}

TEST_F(AuditCommand, RevealsTheCallersOwnTextOnThePageAlone) {
  const std::string lines = "{\"text\": \"call 555-0100\", \"sensitive\": [\"555-0100\"]}\n";
  stdin_ = lines + lines + lines;  // as many as the report is of
  const std::vector<std::string> audit = {
      "audit",  "--model",           "chat",  "--from-jsonl",   "-",
      "--html", File("report.html"), "--out", File("report.pb")};
  std::vector<std::string> reveal = audit;
  reveal.push_back("--reveal");
  EXPECT_EQ(Lethe(reveal), 0) << err_;
  EXPECT_THAT(*ReadFile(File("report.html")), HasSubstr("call <mark>555-0100</mark>"));
  EXPECT_EQ(std::filesystem::status(File("report.html")).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_THAT(out_, Not(HasSubstr("555-0100")));
  EXPECT_THAT(*ReadFile(File("report.pb")), Not(HasSubstr("555-0100")));
  stdin_ = lines + lines + lines;
  EXPECT_EQ(Lethe(audit), 0) << err_;
  EXPECT_THAT(*ReadFile(File("report.html")), Not(HasSubstr("555-0100")));
  // Without a page there is nothing to show it on.
  EXPECT_EQ(Lethe({"audit", "--model", "chat", "--ids", "1,2", "--reveal"}), kExitUsage);
}

TEST_F(AuditCommand, ARefusalSaysWhatToDo) {
  verifier_.responses.clear();
  verifier_.answer =
      WireError(grpc::StatusCode::FAILED_PRECONDITION, "CHECKPOINT_REMOVED", "it is gone");
  EXPECT_EQ(Lethe({"audit", "--model", "chat", "--ids", "1,2"}), kExitRefused);
  EXPECT_EQ(out_, "");
  EXPECT_THAT(err_, HasSubstr("CHECKPOINT_REMOVED"));
  EXPECT_THAT(err_, HasSubstr("lethe model checkpoints"));
  verifier_.answer = WireError(grpc::StatusCode::UNAVAILABLE, "SERVER_DRAINING");
  EXPECT_EQ(Lethe({"audit", "--model", "chat", "--ids", "1,2"}), kExitUnreachable);
}

TEST_F(AuditCommand, WrongUsageSendsNothing) {
  for (const std::vector<std::string>& flags : std::vector<std::vector<std::string>>{
           {},                                                     // what to look for?
           {"--prompt", "Who?"},                                   // no answer
           {"--text", "a", "--sensitive", "SECRET"},               // does not occur
           {"--subject", "p", "--html", "page.html", "--reveal"},  // there is no text to show
           {"--ids", "1,2", "--max-forward-tokens", "-1"},
           {"--ids", "1,two"}}) {
    std::vector<std::string> command = {"audit", "--model", "chat"};
    command.insert(command.end(), flags.begin(), flags.end());
    EXPECT_EQ(Lethe(command), kExitUsage) << testing::PrintToString(flags);
    EXPECT_EQ(err_.find("SECRET"), std::string::npos);
  }
  EXPECT_EQ(Lethe({"audit", "--ids", "1,2"}), kExitUsage);
  EXPECT_THAT(verifier_.audit.model_id(), IsEmpty());
}

}  // namespace
}  // namespace lethe
