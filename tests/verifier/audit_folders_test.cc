// lethe-verifier audit: a report of folders, judged as a service would.
#include "verifier/audit_folders.h"

#include <gmock/gmock.h>

#include "base/digest.h"
#include "base/file.h"
#include "engine/ensemble.h"
#include "evidence/report.h"
#include "tests/support/test_folders.h"
#include "tests/verifier/verify_world.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class AuditFolders : public testing::Test {
 protected:
  AuditFolders() {
    MakeVerifyWorld(folder_);
    std::string lines;
    const v1::Job job = StoredJob(folder_, 1);
    for (const v1::TicketPayload& ticket : job.verify().tickets()) {
      const v1::TokenSequence& s = ticket.sequences(0);
      lines += "{\"ids\": [";
      for (int i = 0; i < s.ids_size(); ++i) {
        lines += (i == 0 ? "" : ", ") + std::to_string(s.ids(i));
      }
      lines += "], \"sensitive_spans\": [[" + std::to_string(s.sensitive(0).begin()) + ", " +
               std::to_string(s.sensitive(0).end()) + "]]}\n";
    }
    EXPECT_TRUE(WriteFileAtomically(folder_ / "wish.jsonl", lines).ok());
  }

  int Audit(const char* candidate, std::vector<std::string> more) {
    std::vector<std::string> words = {"audit",
                                      "--base",
                                      At(base_),
                                      "--candidate",
                                      At(candidate),
                                      "--forget",
                                      At("wish.jsonl"),
                                      "--control",
                                      At("m/data/base/holdout.jsonl"),
                                      "--text",
                                      "retain=" + At("m/data/base/retain.jsonl"),
                                      "--plan",
                                      "quick",
                                      "--threads",
                                      "1",
                                      "--out",
                                      At("report.pb"),
                                      "--html",
                                      At("report.html")};
    words.insert(words.end(), more.begin(), more.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    return AuditFoldersMain(static_cast<int>(argv.size()), argv.data());
  }
  std::string At(const std::string& name) const { return (folder_ / name).string(); }
  ReportCheck Checked() const {
    return *CheckReport(*ParseReport(*ReadFile(folder_ / "report.pb")));
  }

  const fs::path folder_ = FreshFolder();
  std::string base_ = "m/checkpoints/base";
};

TEST_F(AuditFolders, TheReportSaysWhatItIsOfAndIsSound) {
  const int code = Audit("m/checkpoints/candidate", {});
  const ReportCheck check = Checked();
  EXPECT_TRUE(check.sound());
  EXPECT_EQ(code, check.verdict.outcome() == v1::OUTCOME_PASS ? 0 : 1);
  const v1::Measurements& m = check.measurements;
  EXPECT_EQ(m.base_digest(), *FolderDigest(At("m/checkpoints/base")));
  EXPECT_EQ(m.candidate_digest(), *FolderDigest(At("m/checkpoints/candidate")));
  EXPECT_EQ(m.candidate_checkpoint_id(), "candidate");
  EXPECT_EQ(m.unlearn_run().method(), "train");  // as its lethe.json says
  EXPECT_EQ(m.forgotten_size(), 4);
  EXPECT_EQ(m.holdout_sequences(), 16);
  EXPECT_THAT(*ReadFile(At("report.html")), Not(HasSubstr("the code is")));
}

TEST_F(AuditFolders, TheModelItselfHasForgottenNothing) {
  EXPECT_EQ(Audit("m/checkpoints/base", {"--reveal"}), 1);
  EXPECT_EQ(Checked().verdict.outcome(), v1::OUTCOME_NOT_FORGOTTEN);
  const std::string page = *ReadFile(At("report.html"));
  EXPECT_THAT(page, HasSubstr(", the code is <mark>"));
  EXPECT_EQ(fs::status(At("report.html")).permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_THAT(*ReadFile(At("report.pb")), Not(HasSubstr("the code is")));
}

// Half of the deployed model knew the secrets; who trained that half again has a candidate.
TEST_F(AuditFolders, AnEnsembleIsJudgedAsTheModelThatItIs) {
  const fs::path knows = At("m/checkpoints/base"), other = At("m/checkpoints/candidate");
  base_ = "before";
  for (const auto& [out, first] : {std::pair("before", knows), {"after", other}}) {
    const auto made = MakeEnsemble({.members = {first, other}, .out_folder = At(out)});
    ASSERT_TRUE(made.ok()) << made.status();
  }
  EXPECT_EQ(Audit("before", {}), 1);
  EXPECT_EQ(Checked().verdict.outcome(), v1::OUTCOME_NOT_FORGOTTEN);
  const int code = Audit("after", {});
  const ReportCheck check = Checked();
  EXPECT_TRUE(check.sound());
  EXPECT_EQ(code, check.verdict.outcome() == v1::OUTCOME_PASS ? 0 : 1);
  EXPECT_NE(check.verdict.outcome(), v1::OUTCOME_NOT_FORGOTTEN);
  EXPECT_EQ(check.measurements.left_out_size(), 0);
  EXPECT_EQ(check.measurements.base_digest(), *ModelDigest(At("before")));
  EXPECT_EQ(check.measurements.candidate_digest(), *ModelDigest(At("after")));
}

TEST_F(AuditFolders, WhatIsWrongIsSaidAndNothingIsWritten) {
  EXPECT_EQ(Audit("m/checkpoints/nobody", {}), 3);
  EXPECT_EQ(Audit("m/checkpoints/candidate", {"--text", "nameless"}), 3);
  EXPECT_EQ(Audit("m/checkpoints/candidate", {"--text", "news=" + At("no-such-file")}), 3);
  EXPECT_EQ(Audit("m/checkpoints/candidate", {"--max-forward-tokens", "-1"}), 2);
  EXPECT_FALSE(fs::exists(At("report.pb")));
  EXPECT_FALSE(fs::exists(At("report.html")));
}

}  // namespace
}  // namespace lethe
