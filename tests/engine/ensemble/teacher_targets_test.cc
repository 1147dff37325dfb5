// The teachers' targets against the plain mean of whole distributions in float64; who is left out
// has no part in them; and the folders that are refused.
#include "engine/ensemble/teacher_targets.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <random>

#include "base/digest.h"
#include "base/file.h"
#include "engine/train.h"
#include "tests/engine/random_models.h"
#include "tests/support/seeded_random.h"
#include "tests/support/test_folders.h"

namespace lethe {
namespace {

constexpr int kVocabulary = 50;
namespace fs = std::filesystem;

// A small model that has learnt a little of some random text: its distributions are neither flat
// nor certain.
fs::path MakeModel(const fs::path& out, uint64_t seed, int vocabulary = kVocabulary,
                   int context = 32) {
  std::mt19937_64 random(seed);
  TrainRequest request{.config_json = SmallLlamaConfig(vocabulary, context, 32, 1),
                       .out_folder = out,
                       .steps = 12,
                       .batch_tokens = 128,
                       .learning_rate = 1e-2,
                       .warmup_steps = 2,
                       .seed = seed,
                       .device = {.threads = 1}};
  for (int i = 0; i < 12; ++i) request.sequences.push_back({.ids = RandomIds(random, 20, 30)});
  const auto trained = Train(request);
  if (!trained.ok()) throw std::runtime_error(trained.status().ToString());
  return out;
}

// A student and four teachers, made once for all tests of the process.
struct World {
  fs::path base;
  std::vector<fs::path> teachers;
  std::vector<Sequence> forget;
};
const World& TheWorld() {
  static const World* const world = [] {
    auto* w = new World;
    const fs::path folder = ProcessFolder("teacher-targets");
    w->base = MakeModel(folder / "base", 100);
    for (int i = 0; i < 4; ++i) {
      w->teachers.push_back(MakeModel(folder / std::to_string(i), 101 + i));
    }
    std::mt19937_64 random(TestSeed(9));
    for (const int length : {20, 2, 32, 11, 7}) {
      w->forget.push_back({.ids = RandomIds(random, length, kVocabulary)});
    }
    w->forget[3].prompt_tokens = 4;
    w->forget[2].sensitive = {{3, 6}};
    return w;
  }();
  return *world;
}

// Who saw what: sequence 1 has one teacher left, sequence 4 all.
std::vector<Teacher> Teachers() {
  const std::vector<std::vector<size_t>> saw = {{0, 1}, {1, 2}, {1, 3, 0}, {}};
  std::vector<Teacher> teachers;
  for (size_t i = 0; i < saw.size(); ++i) {
    teachers.push_back({.folder = TheWorld().teachers[i], .saw = saw[i]});
  }
  return teachers;
}

std::vector<SequenceTargets> Targets(const std::vector<Teacher>& teachers,
                                     const TargetOptions& options) {
  const auto set = TeacherSet::Open(teachers, TheWorld().base, TheWorld().forget, {.threads = 1});
  if (!set.ok()) throw std::runtime_error(set.status().ToString());
  auto targets = MakeTeacherTargets(*set, TheWorld().forget, options);
  if (!targets.ok()) throw std::runtime_error(targets.status().ToString());
  return *std::move(targets);
}

// The definition, written anew: rows of probabilities (T,V) float64 for the labelled tokens of a
// sequence, the mean over the teachers that did not see it, each from a lone row.
at::Tensor NaiveMean(const std::vector<Teacher>& teachers, size_t sequence) {
  c10::InferenceMode inference;
  const Sequence& s = TheWorld().forget[sequence];
  at::Tensor sum;
  int count = 0;
  for (const Teacher& teacher : teachers) {
    if (std::count(teacher.saw.begin(), teacher.saw.end(), sequence) > 0) continue;
    const auto loaded = ModelFolder::Load(teacher.folder, {.threads = 1});
    const at::Tensor ids = at::tensor(std::vector<int64_t>(s.ids.begin(), s.ids.end()));
    const at::Tensor p =
        loaded->model.Logits(loaded->model.Hidden(ids.unsqueeze(0))).to(at::kDouble).softmax(1);
    const int64_t first = std::max(1, s.prompt_tokens);
    const at::Tensor rows = p.narrow(0, first - 1, ids.size(0) - first);
    sum = sum.defined() ? sum + rows : rows;
    ++count;
  }
  return sum / count;
}

double Largest(const at::Tensor& difference) { return difference.abs().max().item<double>(); }

TEST(TeacherTargets, TheExactModeIsTheMeanOfProbabilities) {
  const auto targets = Targets(Teachers(), {.kept = 0});
  for (size_t s = 0; s < targets.size(); ++s) {
    SCOPED_TRACE(s);
    const at::Tensor want = NaiveMean(Teachers(), s);
    EXPECT_EQ(targets[s].ids.size(1), 0);
    // fp32 logits of sums of 32 terms, lone and in batches: 1e-6 of a probability.
    EXPECT_LE(Largest(targets[s].probabilities - want), 1e-6);
    EXPECT_EQ(Largest(targets[s].rest), 0);
    const at::Tensor entropy = -(want * want.log()).sum(1);
    EXPECT_LE(Largest(targets[s].entropy - entropy), 1e-5);
    EXPECT_TRUE(targets[s].likeliest.equal(want.argmax(1).to(at::kInt)));
    const Sequence& text = TheWorld().forget[s];
    const int64_t first = std::max(1, text.prompt_tokens);
    for (int64_t t = 0; t < want.size(0); ++t) {
      EXPECT_NEAR(targets[s].own[t].item<double>(),
                  std::log(want[t][text.ids[first + t]].item<double>()), 1e-5);
    }
  }
}

// One teacher left: its own distribution, which is plain distillation.
TEST(TeacherTargets, OneTeacherLeftIsPlainDistillation) {
  const auto targets = Targets(Teachers(), {.kept = 0});
  const std::vector<Teacher> alone = {{.folder = TheWorld().teachers[3]}};
  EXPECT_LE(Largest(targets[1].probabilities - NaiveMean(alone, 1)), 1e-6);
  EXPECT_TRUE(Targets(alone, {.kept = 0})[1].probabilities.equal(targets[1].probabilities));
}

TEST(TeacherTargets, KeepsTheLikeliestTheTextsOwnTokenAndTheRestsMass) {
  for (const int64_t k : {1, 3, 49}) {
    const auto targets = Targets(Teachers(), {.kept = k});
    for (size_t s = 0; s < targets.size(); ++s) {
      const at::Tensor want = NaiveMean(Teachers(), s);
      const at::Tensor ids = targets[s].ids.to(at::kLong);
      ASSERT_EQ(ids.size(1), k);
      EXPECT_LE(Largest(targets[s].probabilities - want.gather(1, ids)), 1e-6);
      const at::Tensor rest = 1 - want.gather(1, ids).sum(1);
      EXPECT_LE(Largest(targets[s].rest - rest), 1e-6);
      // What is left out is no likelier than what was kept, but for the text's own token.
      const at::Tensor outside = want.scatter(1, ids, 0).amax(1);
      const Sequence& text = TheWorld().forget[s];
      for (int64_t t = 0; t < want.size(0); ++t) {
        const int64_t own = text.ids[std::max(1, text.prompt_tokens) + t];
        EXPECT_EQ(ids[t].eq(own).sum().item<int64_t>(), 1);
        EXPECT_EQ(std::get<0>(at::_unique(ids[t])).size(0), k);
        for (int64_t i = 0; i < k; ++i) {
          if (ids[t][i].item<int64_t>() == own) continue;
          EXPECT_GE(targets[s].probabilities[t][i].item<double>(),
                    outside[t].item<double>() - 1e-6);
        }
      }
    }
  }
}

// Groups of one sequence each load every teacher again; only the shapes of the batches differ.
TEST(TeacherTargets, SmallMemoryGivesTheSame) {
  const auto at_once = Targets(Teachers(), {.kept = 0});
  for (const int64_t bytes : {int64_t{1}, int64_t{40 * kVocabulary * 4}}) {
    const auto in_groups = Targets(Teachers(), {.kept = 0, .row_bytes = bytes, .max_tokens = 8});
    for (size_t s = 0; s < at_once.size(); ++s) {
      EXPECT_LE(Largest(in_groups[s].probabilities - at_once[s].probabilities), 1e-6);
      EXPECT_TRUE(in_groups[s].drawn.equal(at_once[s].drawn)) << s;
    }
  }
}

TEST(TeacherTargets, TwiceTheSameBits) {
  const auto one = Targets(Teachers(), {.kept = 7, .seed = 3});
  const auto two = Targets(Teachers(), {.kept = 7, .seed = 3});
  const auto other = Targets(Teachers(), {.kept = 7, .seed = 4});
  bool drawn_differ = false;
  for (size_t s = 0; s < one.size(); ++s) {
    EXPECT_TRUE(one[s].ids.equal(two[s].ids));
    EXPECT_TRUE(one[s].probabilities.equal(two[s].probabilities));
    EXPECT_TRUE(one[s].rest.equal(two[s].rest));
    EXPECT_TRUE(one[s].drawn.equal(two[s].drawn));
    drawn_differ |= !one[s].drawn.equal(other[s].drawn);
  }
  EXPECT_TRUE(drawn_differ);
}

// Quite another model in the place of a teacher: no bit changes where it is left out, and the
// others' do.
TEST(TeacherTargets, ATeacherThatIsLeftOutHasNoInfluence) {
  std::vector<Teacher> others = Teachers();
  others[2].folder = MakeModel(FreshFolder() / "other", 777);
  const auto before = Targets(Teachers(), {.kept = 7}), after = Targets(others, {.kept = 7});
  for (size_t s = 0; s < before.size(); ++s) {
    const bool left_out = std::count(others[2].saw.begin(), others[2].saw.end(), s) > 0;
    EXPECT_EQ(before[s].probabilities.equal(after[s].probabilities), left_out) << s;
    EXPECT_EQ(before[s].own.equal(after[s].own), left_out) << s;
  }
}

// 2,000 seeds: each token comes up as often as it should, within five standard deviations.
TEST(TeacherTargets, DrawsFollowTheDistribution) {
  const std::vector<Teacher> alone = {{.folder = TheWorld().teachers[3]}};
  const auto set = TeacherSet::Open(alone, TheWorld().base, TheWorld().forget, {.threads = 1});
  const std::vector<Sequence> one = {TheWorld().forget[1]};
  const at::Tensor want = NaiveMean(alone, 1)[0];
  std::map<int32_t, int> seen;
  constexpr int kDraws = 2000;
  for (int seed = 0; seed < kDraws; ++seed) {
    const auto targets = MakeTeacherTargets(*set, one, {.seed = static_cast<uint64_t>(seed)});
    ++seen[(*targets)[0].drawn[0].item<int32_t>()];
  }
  for (int32_t v = 0; v < kVocabulary; ++v) {
    const double p = want[v].item<double>();
    EXPECT_LE(std::abs(seen[v] - kDraws * p), 5 * std::sqrt(kDraws * p * (1 - p)) + 1) << v;
  }
}

// Rows in the order of a batch, with those that buckets add behind them.
TEST(TeacherTargets, LabelsOfABatchAreThoseOfItsSequences) {
  const auto student = ModelFolder::Load(TheWorld().base, {.threads = 1});
  for (const int64_t kept : {0, 7}) {
    const auto targets = Targets(Teachers(), {.kept = kept});
    const auto batches =
        MakeBatches(student->model, TheWorld().forget, {.max_tokens = 64, .in_buckets = true});
    for (const LossBatch& batch : *batches) {
      const SoftLabels soft = LabelsOf(batch, targets, Towards::kDistribution);
      const SoftLabels hard = LabelsOf(batch, targets, Towards::kLikeliest);
      EXPECT_EQ(soft.rest.size(0), batch.targets.size(0));
      EXPECT_EQ(hard.ids.size(0), batch.targets.size(0));
      int64_t row = 0;
      for (const size_t s : batch.sequences) {
        const int64_t rows = targets[s].Rows();
        EXPECT_TRUE(soft.probabilities.narrow(0, row, rows).equal(targets[s].probabilities));
        EXPECT_TRUE(
            hard.ids.narrow(0, row, rows).squeeze(1).equal(targets[s].likeliest.to(at::kLong)));
        row += rows;
      }
      const at::Tensor losses = ComputeSoftLosses(student->model, batch, soft);
      EXPECT_TRUE(losses.isfinite().all().item<bool>());
      EXPECT_EQ(losses.narrow(0, row, losses.size(0) - row).abs().sum().item<double>(), 0);
    }
  }
}

struct Refusal {
  const char* reason;
  void (*change)(std::vector<Teacher>&, const fs::path&);
};
class TeacherSetRefuses : public testing::TestWithParam<Refusal> {};

TEST_P(TeacherSetRefuses, AndSaysWhichOne) {
  const fs::path folder = FreshFolder();
  std::vector<Teacher> teachers = Teachers();
  GetParam().change(teachers, folder);
  const auto set = TeacherSet::Open(teachers, TheWorld().base, TheWorld().forget, {.threads = 1});
  EXPECT_EQ(ErrorReason(set.status()), GetParam().reason) << set.status();
  if (std::string_view("NO_TEACHER_LEFT") == GetParam().reason) {
    EXPECT_EQ(set.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(ErrorDetails(set.status())["count"], "2");
  } else if (!teachers.empty()) {
    EXPECT_EQ(ErrorDetails(set.status())["teacher"], "1");
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, TeacherSetRefuses,
    testing::Values(
        Refusal{"TEACHERS_NEEDED", [](auto& t, const auto&) { t.clear(); }},
        Refusal{"TEACHER_SAW_UNKNOWN", [](auto& t, const auto&) { t[1].saw.push_back(5); }},
        Refusal{"NO_TEACHER_LEFT",
                [](auto& t, const auto&) {
                  t[3].saw = {1, 0};
                  t[1].saw.push_back(0);
                }},
        Refusal{"TEACHER_TWICE", [](auto& t, const auto&) { t[1].folder = t[0].folder; }},
        Refusal{"TEACHER_IS_BASE", [](auto& t, const auto&) { t[1].folder = TheWorld().base; }},
        Refusal{"TEACHER_CHANGED",
                [](auto& t, const auto&) { t[1].digest = std::string(64, '0'); }},
        Refusal{"TEACHER_VOCABULARY_DIFFERS",
                [](auto& t, const auto& folder) {
                  t[1].folder = MakeModel(folder / "larger", 5, kVocabulary + 1);
                }},
        Refusal{"TEACHER_VOCABULARY_DIFFERS",
                [](auto& t, const auto& folder) {
                  ASSERT_TRUE(CopyFolder(t[1].folder, folder / "other").ok());
                  std::ofstream(folder / "other/tokenizer.json") << "{}";
                  t[1].folder = folder / "other";
                }},
        Refusal{"TEACHER_CONTEXT_TOO_SHORT",
                [](auto& t, const auto& folder) {
                  t[1].folder = MakeModel(folder / "short", 6, kVocabulary, 20);
                  t[1].saw.clear();
                }}),
    [](const auto& info) { return std::to_string(info.index) + "_" + info.param.reason; });

TEST(TeacherSet, AFolderThatIsNotThereIsSaidToBeTheTeachers) {
  std::vector<Teacher> teachers = Teachers();
  teachers[2].folder = FreshFolder() / "nowhere";
  const auto set = TeacherSet::Open(teachers, TheWorld().base, TheWorld().forget, {.threads = 1});
  EXPECT_FALSE(set.ok());
  EXPECT_EQ(ErrorDetails(set.status())["teacher"], "2") << set.status();
}

TEST(TeacherSet, RecordsDigestsAndWhereEachWasLeftOut) {
  const auto set = TeacherSet::Open(Teachers(), TheWorld().base, TheWorld().forget, {.threads = 1});
  ASSERT_TRUE(set.ok()) << set.status();
  ASSERT_EQ(set->records().size(), 4U);
  EXPECT_EQ(set->records()[2].digest, FolderDigest(TheWorld().teachers[2]).value());
  EXPECT_EQ(set->records()[2].left_out_of, (std::vector<int64_t>{0, 1, 3}));
  EXPECT_EQ(set->TeachersOf(1), 1);
  EXPECT_EQ(set->TeachersOf(4), 4);
}

TEST(TeacherTargets, StopsWhenItIsTold) {
  const auto set = TeacherSet::Open(Teachers(), TheWorld().base, TheWorld().forget, {.threads = 1});
  int asked = 0;
  const auto targets = MakeTeacherTargets(*set, TheWorld().forget, {},
                                          [&](const EngineProgress&) { return ++asked < 3; });
  EXPECT_EQ(ErrorReason(targets.status()), "STOPPED");
  EXPECT_EQ(asked, 3);
}

}  // namespace
}  // namespace lethe
