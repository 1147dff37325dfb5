// A run that was stopped anywhere goes on where it was, and what it kept can be trusted.
#include "engine/attack/resume.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <set>

#include "base/file.h"
#include "engine/attack/audit_side.h"
#include "tests/engine/unlearn/tiny_people.h"
#include "tests/support/temp_folder.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

KeptFigures Some() {
  const double inf = std::numeric_limits<double>::infinity();
  return {.lists = {{"a name with blanks", {0.1, -inf, 1e-300, 3}}, {"empty", {}}, {"", {2}}},
          .note = ""};
}

fs::path OnlyFile(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  EXPECT_EQ(files.size(), 1U);
  return files.front();
}

TEST(ResumeFolder, GivesBackEveryBit) {
  TempFolder folder;
  const ResumeFolder kept(folder.path() / "new", "binding");
  EXPECT_FALSE(kept.Find("one").has_value());
  ASSERT_TRUE(kept.Keep("one", Some()).ok());
  const auto found = kept.Find("one");
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->lists, Some().lists);
  EXPECT_EQ(found->note, "");
  ASSERT_TRUE(kept.Keep("two", {.note = "it has no span"}).ok());
  EXPECT_EQ(kept.Find("two")->note, "it has no span");
  EXPECT_FALSE(kept.Find("three").has_value());
  const ResumeFolder nowhere({}, "binding");
  EXPECT_TRUE(nowhere.Keep("one", Some()).ok());
  EXPECT_FALSE(nowhere.Find("one").has_value());
}

// Every byte of a file, changed or cut off, makes it as good as none; keeping it again mends it.
TEST(ResumeFolder, ADamagedFileIsAsGoodAsNone) {
  TempFolder folder;
  const ResumeFolder kept(folder.path(), "binding");
  ASSERT_TRUE(kept.Keep("one", Some()).ok());
  const fs::path file = OnlyFile(folder.path());
  const std::string whole = *ReadFile(file);
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] ^= 1;
    ASSERT_TRUE(WriteFileAtomically(file, damaged).ok());
    EXPECT_FALSE(kept.Find("one").has_value()) << i;
    ASSERT_TRUE(WriteFileAtomically(file, whole.substr(0, i)).ok());
    EXPECT_FALSE(kept.Find("one").has_value()) << i;
  }
  ASSERT_TRUE(kept.Keep("one", Some()).ok());
  EXPECT_TRUE(kept.Find("one").has_value());
}

// A file of another piece or another audit under this one's name.
TEST(ResumeFolder, AForeignFileIsAsGoodAsNone) {
  TempFolder mine, theirs, other;
  const ResumeFolder kept(mine.path(), "binding"), foreign(theirs.path(), "another"),
      piece(other.path(), "binding");
  ASSERT_TRUE(kept.Keep("one", Some()).ok());
  ASSERT_TRUE(foreign.Keep("one", Some()).ok());
  ASSERT_TRUE(piece.Keep("two", Some()).ok());
  const fs::path file = OnlyFile(mine.path());
  for (const TempFolder* from : {&theirs, &other}) {
    fs::copy_file(OnlyFile(from->path()), file, fs::copy_options::overwrite_existing);
    EXPECT_FALSE(kept.Find("one").has_value());
  }
}

TEST(PartOf, FitsItsAimOnly) {
  const Aim aim = {.forgotten = {4}, .control = {1, 2}};
  PartResult part{.forgotten = {0.5},
                  .control = {0.25, 1},
                  .forward_tokens = 9,
                  .shared_tokens = 3,
                  .seconds = 0.1};
  part.details["n at 0.5 / odd"] = {{7}, {8, 9}};
  const auto back = PartOf(KeptOf(part), aim);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->forgotten, part.forgotten);
  EXPECT_EQ(back->control, part.control);
  EXPECT_EQ(back->forward_tokens, 9);
  EXPECT_EQ(back->shared_tokens, 3);
  EXPECT_EQ(back->seconds, 0.1);
  ASSERT_EQ(back->details.size(), 1U);
  EXPECT_EQ(back->details.at("n at 0.5 / odd").forgotten, (std::vector<double>{7}));
  EXPECT_EQ(back->details.at("n at 0.5 / odd").control, (std::vector<double>{8, 9}));
  EXPECT_FALSE(PartOf(KeptOf(part), {.forgotten = {4, 5}, .control = {1, 2}}).has_value());
  EXPECT_FALSE(PartOf({}, aim).has_value());
}

AttackRequest Request(const fs::path& resume_folder) {
  return {.base_folder = Tiny().model,
          .candidate_folder = Tiny().model,
          .forgotten = Tiny().forget,
          .control = Tiny().holdout,
          .texts = {{"control", Tiny().holdout}, {"retain", Tiny().retain}},
          .plan = {{.attack = "greedy_extraction"},
                   {.attack = "loss"},
                   {.attack = "loss", .condition = "int4"},
                   {.attack = "min_k", .condition = "int4"},
                   {.attack = "loss", .condition = "relearned-half-2"},
                   {.attack = "min_k", .condition = "relearned-half-2"},
                   {.attack = "loss", .condition = "relearned-half-4"},
                   {.attack = "loss", .condition = "relearned-same-2"},
                   {.attack = "loss", .condition = "relearned-unrelated-1"}},
          .resume_folder = resume_folder,
          .seed = 3};
}

void ExpectSame(const AttackReport& a, const AttackReport& b) {
  const auto same = [](const BeforeAfter& x, const BeforeAfter& y) {
    EXPECT_EQ(x.before, y.before);
    EXPECT_EQ(x.after, y.after);
  };
  ASSERT_EQ(a.attacks.size(), b.attacks.size());
  for (size_t i = 0; i < a.attacks.size(); ++i) {
    const AttackOutcome &x = a.attacks[i], &y = b.attacks[i];
    SCOPED_TRACE(x.attack + "@" + x.condition);
    EXPECT_EQ(x.attack, y.attack);
    EXPECT_EQ(x.condition, y.condition);
    same(x.forgotten, y.forgotten);
    same(x.control, y.control);
    EXPECT_EQ(x.control_indexes, y.control_indexes);
    EXPECT_EQ(x.relearn_step_size, y.relearn_step_size);
    EXPECT_EQ(x.forward_tokens, y.forward_tokens);
    EXPECT_EQ(x.expected_forward_tokens, y.expected_forward_tokens);
    ASSERT_EQ(x.details.size(), y.details.size());
    for (size_t d = 0; d < x.details.size(); ++d) {
      EXPECT_EQ(x.details[d].name, y.details[d].name);
      same(x.details[d].forgotten, y.details[d].forgotten);
      same(x.details[d].control, y.details[d].control);
    }
  }
  ASSERT_EQ(a.left_out.size(), b.left_out.size());
  for (size_t i = 0; i < a.left_out.size(); ++i) {
    EXPECT_EQ(a.left_out[i].reason, b.left_out[i].reason);
  }
  ASSERT_EQ(a.utility.size(), b.utility.size());
  for (size_t i = 0; i < a.utility.size(); ++i) {
    EXPECT_EQ(a.utility[i].tokens, b.utility[i].tokens);
    EXPECT_EQ(a.utility[i].nll_before, b.utility[i].nll_before);
    EXPECT_EQ(a.utility[i].nll_after, b.utility[i].nll_after);
  }
  same(a.forgotten_nll, b.forgotten_nll);
  same(a.control_nll, b.control_nll);
}

// Stopped at its first word, started again and stopped at its second, and so on: in every attack,
// in the steps of training and between.
TEST(RunAttacks, StoppedAnywhereAndStartedAgainGivesTheSameReport) {
  TempFolder folder;
  const auto whole = RunAttacks(Request({}));
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(whole->attacks.size(), 8U);
  EXPECT_EQ(whole->left_out.size(), 1U);
  int stops = 0;
  for (int most = 1;; ++most) {
    ASSERT_LT(most, 1000);
    int calls = 0;
    const auto report =
        RunAttacks(Request(folder.path()), [&](const EngineProgress&) { return ++calls < most; });
    if (report.ok()) {
      ExpectSame(*whole, *report);
      break;
    }
    ASSERT_EQ(ErrorReason(report.status()), "STOPPED");
    ++stops;
  }
  EXPECT_GT(stops, 15);
  // All is done: nothing is trained or attacked again, only told.
  std::set<std::string> phases;
  const auto again = RunAttacks(Request(folder.path()), [&](const EngineProgress& p) {
    phases.insert(p.phase);
    return true;
  });
  ASSERT_TRUE(again.ok());
  ExpectSame(*whole, *again);
  EXPECT_EQ(phases.count("relearning"), 0U);
}

int attacks_made = 0;
absl::StatusOr<AttackScores> Counted(const AttackInput& input) {
  ++attacks_made;
  AttackScores out;
  out.scores.assign(input.sequences.size(), 1);
  return out;
}

TEST(RunSide, WhatIsDoneIsNotDoneAgain) {
  TempFolder folder;
  const AttackRequest request = Request(folder.path());
  const auto run = [&](const std::string& binding) {
    auto audit = MakeAudit(request);
    EXPECT_TRUE(audit.ok()) << audit.status();
    audit->rows.resize(2);
    for (AuditRow& row : audit->rows) row.attack = Counted;
    attacks_made = 0;
    EXPECT_TRUE(RunSide(*audit, Side::kBefore, ResumeFolder(folder.path(), binding), nullptr).ok());
    return attacks_made;
  };
  constexpr int kAll = 2 * 3;  // two attacks, on the forgotten text and on two parts of control
  EXPECT_EQ(run("one"), kAll);
  EXPECT_EQ(run("one"), 0);
  EXPECT_EQ(run("two"), kAll);  // another audit's files are not this one's
}

TEST(BindingOf, IsAnotherForEverythingThatDecides) {
  std::set<std::string> bindings;
  const auto add = [&](void (*change)(AttackRequest&)) {
    AttackRequest request = Request("/somewhere");
    change(request);
    const auto audit = MakeAudit(request);
    ASSERT_TRUE(audit.ok()) << audit.status();
    const auto binding = BindingOf(*audit, Side::kAfter);
    ASSERT_TRUE(binding.ok()) << binding.status();
    EXPECT_TRUE(bindings.insert(*binding).second) << bindings.size();
  };
  add([](AttackRequest&) {});
  add([](AttackRequest& r) { r.seed = 4; });
  add([](AttackRequest& r) { r.base_digest = "b"; });
  add([](AttackRequest& r) { r.candidate_digest = "c"; });
  add([](AttackRequest& r) { r.forgotten[1].ids[3] = 12; });
  add([](AttackRequest& r) { r.forgotten[1].prompt_tokens = 1; });
  add([](AttackRequest& r) { r.control[7].sensitive.clear(); });
  add([](AttackRequest& r) { r.texts[1].sequences.pop_back(); });
  add([](AttackRequest& r) { r.texts[1].name = "news"; });
  add([](AttackRequest& r) { r.plan[3].overrides = {{"k", 0.3}}; });
  add([](AttackRequest& r) { r.plan[3].condition = "int8"; });
  add([](AttackRequest& r) { r.plan.pop_back(); });
  add([](AttackRequest& r) { r.max_forward_tokens = 9; });
  add([](AttackRequest& r) { r.digest_key = "key"; });
  add([](AttackRequest& r) { r.device.name = "cuda:0"; });
}

TEST(BindingOf, TheBasesSideIsOneForAllCandidates) {
  AttackRequest one = Request("/somewhere"), other = one;
  other.candidate_digest = "c";
  const auto first = MakeAudit(one), second = MakeAudit(other);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(*BindingOf(*first, Side::kBefore), *BindingOf(*second, Side::kBefore));
  EXPECT_NE(*BindingOf(*first, Side::kAfter), *BindingOf(*second, Side::kAfter));
}

}  // namespace
}  // namespace lethe
