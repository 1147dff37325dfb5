// Rounding against numpy's, and which weights of each family are rounded along which side.
#include "engine/attack/quantise.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/attack.h"
#include "engine/model/decoder_io.h"
#include "tests/engine/random_families.h"
#include "tests/engine/random_models.h"
#include "tests/engine/unlearn/tiny_people.h"
#include "tests/support/temp_folder.h"

namespace lethe {
namespace {

TEST(RoundToGrid, EqualsNumpys) {
  std::ifstream in(LETHE_QUANTISE_GOLDEN_FILE);
  const auto golden = nlohmann::json::parse(in);
  std::vector<at::Tensor> rows;
  for (const auto& row : golden.at("weight")) {
    rows.push_back(at::tensor(row.get<std::vector<float>>()) / 1024);
  }
  const at::Tensor weight = at::stack(rows);
  ASSERT_EQ(golden.at("cases").size(), 4U);
  for (const auto& c : golden.at("cases")) {
    const Grid grid = {.bits = c.at("bits"), .group = c.at("group")};
    const Quantised made = RoundToGrid(weight, grid);
    const int64_t group = grid.group > 0 ? grid.group : weight.size(1);
    for (int64_t o = 0; o < weight.size(0); ++o) {
      for (int64_t i = 0; i < weight.size(1); ++i) {
        const int code = c.at("codes")[o][i];
        const float scale = c.at("scales")[o][i / group];
        EXPECT_EQ(made.codes[o][i].item<int>(), code) << o << " " << i;
        EXPECT_EQ(made.values[o][i].item<float>(), static_cast<float>(code) * scale);
      }
    }
  }
}

bool Contains(const std::string& name, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](const char* word) { return name.find(word) != std::string::npos; });
}

// As a file has them, by its names alone.
bool IsMatrix(const std::string& name) {
  return !Contains(name, {"bias", "norm", "ln_", "wpe", "embed_positions"});
}
// Two models that differ everywhere: what was moved back has the base's codes, every one, and yet
// not its weights.
TEST(KeepCodes, LeavesNothingOfAChangeAfterRounding) {
  for (const Grid& grid : {Grid{.bits = 4}, Grid{.bits = 4, .group = 16}, Grid{.bits = 8}}) {
    const Decoder base = RandomModel({.vocab = 40, .context = 16}, 1);
    const Decoder model = RandomModel({.vocab = 40, .context = 16}, 2);
    ASSERT_TRUE(KeepCodes(base, model, grid).ok());
    double moved = 0;
    for (size_t i = 0; i < base.Leaves().size(); ++i) {
      moved += (base.Leaves()[i] - model.Leaves()[i]).abs().sum().item<double>();
    }
    EXPECT_GT(moved, 1);
    Quantise(base, grid);
    Quantise(model, grid);
    for (const NamedTensor& t : base.Named()) {
      if (IsMatrix(t.name)) {
        EXPECT_TRUE(t.tensor.equal(model.Named(t.name))) << t.name;
      }
    }
  }
}

bool IsTransposed(const std::string& family, const std::string& name) {
  return family == "gpt2" && Contains(name, {"c_attn", "c_proj", "c_fc"});
}

// Row by row with plain numbers.
std::vector<int> PlainCodes(at::Tensor w, double most) {
  w = w.contiguous();
  std::vector<int> codes;
  for (int64_t o = 0; o < w.size(0); ++o) {
    float largest = 0;
    for (int64_t i = 0; i < w.size(1); ++i) {
      largest = std::max(largest, std::abs(w[o][i].item<float>()));
    }
    const float scale = largest / static_cast<float>(most);
    for (int64_t i = 0; i < w.size(1); ++i) {
      codes.push_back(scale == 0 ? 0
                                 : static_cast<int>(std::nearbyint(w[o][i].item<float>() / scale)));
    }
  }
  return codes;
}

TEST(Quantise, EveryFamilysMatricesByTheirOutputsAndNothingElse) {
  for (const FamilyCase& c : FamilyCases(12)) {
    SCOPED_TRACE(c.name);
    const Decoder model = RandomDecoder(c.config, 5);
    const Decoder rounded = model.Clone();
    Quantise(rounded, {.bits = 4});
    int matrices = 0;
    for (const auto& [name, before] : model.Named()) {
      SCOPED_TRACE(name);
      at::Tensor from = before, to = rounded.Named(name);
      if (!IsMatrix(name)) {
        EXPECT_TRUE(at::equal(from, to));
        continue;
      }
      ++matrices;
      if (IsTransposed(c.name, name)) from = from.t(), to = to.t();
      ASSERT_EQ(from.dim(), 2);
      EXPECT_EQ(PlainCodes(from, 7), PlainCodes(to, 7));
      // At most 15 values a channel.
      for (int64_t o = 0; o < to.size(0); ++o) {
        EXPECT_LE(std::get<0>(at::_unique(to[o])).numel(), 15);
      }
    }
    EXPECT_GE(matrices, 2 * 4 + 1);
  }
}

TEST(ShareOfChangedCodes, CountsThemOverTheFiles) {
  for (const FamilyCase& c : FamilyCases(12)) {
    if (c.name != "gpt2" && c.name != "gpt_neox" && c.name != "llama") continue;
    SCOPED_TRACE(c.name);
    TempFolder folder;
    const Decoder base = RandomDecoder(c.config, 5), candidate = base.Clone();
    int64_t changed = 0, weights = 0;
    {
      at::NoGradGuard no_grad;
      const at::Tensor leaf = candidate.Leaves()[2];
      leaf.mul_(at::rand(leaf.sizes()).mul(0.4).add(0.8));
    }
    for (const auto& [name, before] : base.Named()) {
      if (!IsMatrix(name)) continue;
      const bool turned = IsTransposed(c.name, name);
      const at::Tensor after = candidate.Named(name);
      const auto old_codes = PlainCodes(turned ? before.t() : before, 127);
      const auto new_codes = PlainCodes(turned ? after.t() : after, 127);
      for (size_t i = 0; i < old_codes.size(); ++i) changed += old_codes[i] != new_codes[i];
      weights += static_cast<int64_t>(old_codes.size());
    }
    const auto save = [&](const Decoder& model, const char* name) {
      ASSERT_TRUE(
          SaveNewDecoder(model, {.out = folder.path() / name, .config_json = c.config_json}).ok());
    };
    save(base, "base");
    save(candidate, "candidate");
    const auto one = CheckpointFolder::Open(folder.path() / "base");
    const auto two = CheckpointFolder::Open(folder.path() / "candidate");
    ASSERT_TRUE(one.ok() && two.ok());
    const auto none = ShareOfChangedCodes({&*one, 1}, {&*one, 1}, {.bits = 8});
    const auto share = ShareOfChangedCodes({&*one, 1}, {&*two, 1}, {.bits = 8});
    ASSERT_TRUE(none.ok() && share.ok()) << share.status();
    EXPECT_EQ(*none, 0);
    EXPECT_DOUBLE_EQ(*share, static_cast<double>(changed) / static_cast<double>(weights));
  }
}

// The whole run: each condition's figures are those of a folder that was rounded by hand.
TEST(RunAttacks, UnderQuantisationLooksAtTheRoundedModel) {
  TempFolder folder;
  AttackRequest request{.base_folder = Tiny().model,
                        .candidate_folder = Tiny().model,
                        .forgotten = Tiny().forget,
                        .control = Tiny().holdout,
                        .plan = {{.attack = "loss"},
                                 {.attack = "loss", .condition = "int4"},
                                 {.attack = "greedy_extraction", .condition = "int4"},
                                 {.attack = "loss", .condition = "int8-g128"}},
                        .seed = 3};
  const auto report = RunAttacks(request);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->attacks.size(), 4U);
  EXPECT_EQ(report->attacks[1].condition, "int4");
  EXPECT_EQ(report->attacks[2].reach, AttackReach::kDeeper);
  EXPECT_EQ(report->attacks[0].reach, AttackReach::kDeeper);  // as the catalogue has it
  EXPECT_EQ(report->attacks[1].forgotten.before, report->attacks[1].forgotten.after);
  EXPECT_NE(report->attacks[1].forgotten.before, report->attacks[0].forgotten.before);
  ASSERT_EQ(report->code_changes.size(), 2U);
  EXPECT_EQ(report->code_changes[0].condition, "int4");
  EXPECT_EQ(report->code_changes[0].share, 0);

  const auto source = CheckpointFolder::Open(Tiny().model);
  const auto model = Decoder::Load(*source, Device{});
  Quantise(*model, {.bits = 4});
  ASSERT_TRUE(SaveDecoder(*model, *source, {.out = folder.path() / "rounded"}).ok());
  request.candidate_folder = folder.path() / "rounded";
  request.plan = {
      {.attack = "loss"}, {.attack = "greedy_extraction"}, {.attack = "loss", .condition = "int4"}};
  const auto by_hand = RunAttacks(request);
  ASSERT_TRUE(by_hand.ok()) << by_hand.status();
  EXPECT_EQ(by_hand->attacks[0].forgotten.after, report->attacks[1].forgotten.after);
  EXPECT_EQ(by_hand->attacks[0].control.after, report->attacks[1].control.after);
  EXPECT_EQ(by_hand->attacks[1].forgotten.after, report->attacks[2].forgotten.after);
  EXPECT_EQ(by_hand->code_changes[0].share, 0);  // what is on the grid stays there
}

}  // namespace
}  // namespace lethe
