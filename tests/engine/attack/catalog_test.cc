// The catalogue and the tables behind it name the same things.
#include "engine/catalog.h"

#include <gtest/gtest.h>

#include <set>

#include "engine/attack.h"
#include "engine/attack/attack_table.h"
#include "engine/condition.h"
#include "engine/unlearn/method_table.h"

namespace lethe {
namespace {

TEST(Catalog, EveryNameHasAFunctionAndIsThereOnce) {
  std::set<std::string_view> names;
  for (const AttackEntry& entry : Attacks()) {
    EXPECT_NE(FindAttackFunction(entry.name), nullptr)
        << entry.name << ": add a row to attack_table.cc";
    EXPECT_TRUE(names.insert(entry.name).second) << entry.name;
  }
  for (const MethodEntry& entry : Methods()) {
    // Retraining is no step on a loss.
    EXPECT_EQ(FindMethodFunction(entry.name) == nullptr, entry.retrains)
        << entry.name << ": add a row to method_table.cc";
    EXPECT_TRUE(names.insert(entry.name).second) << entry.name;
  }
  EXPECT_EQ(FindAttackFunction("wish"), nullptr);
  EXPECT_EQ(FindMethodFunction("wish"), nullptr);
  for (const PlanEntry& plan : Plans()) {
    for (const PlanRow& row : plan.rows) {
      EXPECT_NE(FindAttack(row.attack), nullptr) << row.attack;
      EXPECT_TRUE(ParseCondition(row.condition).ok()) << row.condition;
    }
  }
}

TEST(Condition, IsNamedAsItIsRead) {
  for (const char* name :
       {"", "int8", "int4", "int8-g128", "int4-g128", "relearned-half-1", "relearned-related-20",
        "relearned-unrelated-1000", "relearned-same-5"}) {
    const auto condition = ParseCondition(name);
    ASSERT_TRUE(condition.ok()) << condition.status();
    EXPECT_EQ(condition->Name(), name);
    EXPECT_FALSE(condition->Title().empty());
  }
  for (const char* name : {"int2", "int8-g64", "int4 ", "relearned", "relearned-half", "as it is",
                           "relearned-half-0", "relearned-half-01", "relearned-half-1001",
                           "relearned-half-5x", "relearned-none-5", "relearned-half--5"}) {
    EXPECT_FALSE(ParseCondition(name).ok()) << name;
  }
}

TEST(Catalog, PresetsSetOnlyKnownParametersWithinTheirLimits) {
  for (const MethodEntry& method : Methods()) {
    ASSERT_FALSE(method.presets.empty());
    EXPECT_EQ(FindPreset(method, ""), &method.presets.front());
    for (const PresetEntry& preset : method.presets) {
      ParameterValues values;
      for (const PresetValue& value : preset.values)
        values[std::string(value.parameter)] = value.value;
      EXPECT_EQ(CheckParameters(method.parameters, values), std::nullopt) << preset.name;
      EXPECT_EQ(FindPreset(method, preset.name), &preset);
    }
    for (const ParameterEntry& p : method.parameters) {
      EXPECT_LE(p.min, p.value) << p.name;
      EXPECT_GE(p.max, p.value) << p.name;
    }
  }
}

// Jang et al.: Adam 5e-5, betas .9/.98, constant, no clipping, at most 20 epochs, nothing but the
// ascent, their rule without slack.
TEST(Catalog, ThePaperPresetIsThePapers) {
  const MethodEntry& method = *FindMethod("gradient_ascent");
  const ParameterValues v =
      ResolveParameters(method.parameters, FindPreset(method, "paper")->values, {});
  EXPECT_EQ(v.at("learning_rate"), 5e-5);
  EXPECT_EQ(v.at("beta1"), 0.9);
  EXPECT_EQ(v.at("beta2"), 0.98);
  EXPECT_EQ(v.at("max_grad_norm"), 0);
  EXPECT_EQ(v.at("max_steps"), 20);
  EXPECT_EQ(v.at("bounded"), 0);
  EXPECT_EQ(v.at("retain_weight"), 0);
  EXPECT_EQ(v.at("threshold_slack"), 0);
  EXPECT_EQ(v.at("el_n"), 10);
}

TEST(Catalog, OverridesWinOverPresetsOverDefaults) {
  static constexpr ParameterEntry kKnown[] = {
      {"a", 1, 0, 9, ""}, {"b", 2, 0, 9, ""}, {"c", 3, 0, 9, ""}};
  static constexpr PresetValue kPreset[] = {{"b", 5}, {"c", 6}};
  EXPECT_EQ(ResolveParameters(kKnown, kPreset, {{"c", 7}}),
            (ParameterValues{{"a", 1}, {"b", 5}, {"c", 7}}));
  EXPECT_TRUE(CheckParameters(kKnown, {{"d", 1}}).has_value());
  EXPECT_TRUE(CheckParameters(kKnown, {{"a", 9.5}}).has_value());
  EXPECT_TRUE(CheckParameters(kKnown, {{"a", std::nan("")}}).has_value());
  EXPECT_FALSE(CheckParameters(kKnown, {{"a", 9}}).has_value());
}

}  // namespace
}  // namespace lethe
