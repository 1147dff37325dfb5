// Beam search against what transformers found (beams/beams.json, written by beams/make_beams.py):
// texts and scores of all beams, with and without an end token, for several length penalties.
#include <gtest/gtest.h>

#include "engine/model/beam_search.h"
#include "tests/engine/golden_data.h"
#include "tests/engine/made_weights.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

absl::StatusOr<Decoder> ModelOf(const std::string& variant) {
  const fs::path file = fs::path(LETHE_FAMILY_GOLDEN_FOLDER) / (variant + ".json");
  LETHE_ASSIGN_OR_RETURN(const DecoderConfig config,
                         ParseDecoderConfig(ReadJson(file)["config"].dump()));
  return Decoder::FromTensors(config, MadeTensors(config), Device{});
}

TEST(BeamGolden, FindsWhatTransformersFinds) {
  std::map<std::string, Decoder> models;
  int ended = 0, cases = 0;
  for (const nlohmann::json& c : ReadJson(LETHE_BEAM_GOLDEN_FILE)) {
    SCOPED_TRACE(c["variant"].get<std::string>() + ", case " + std::to_string(cases++));
    const std::string variant = c["variant"];
    if (models.count(variant) == 0) {
      auto model = ModelOf(variant);
      ASSERT_TRUE(model.ok()) << model.status();
      models.emplace(variant, *std::move(model));
    }
    const std::vector<TokenIds> prompts = {c["prompt"].get<TokenIds>()};
    const auto found = SearchBeams(models.at(variant), prompts,
                                   {.beams = c["beams"],
                                    .max_new_tokens = c["max_new_tokens"],
                                    .length_penalty = c["length_penalty"],
                                    .stop_id = c["stop"]});
    ASSERT_TRUE(found.ok()) << found.status();
    ASSERT_EQ((*found)[0].size(), c["found"].size());
    for (size_t i = 0; i < (*found)[0].size(); ++i) {
      const auto want = c["found"][i]["ids"].get<TokenIds>();
      EXPECT_EQ((*found)[0][i].ids, want) << "beam " << i;
      EXPECT_NEAR((*found)[0][i].score, c["found"][i]["score"].get<double>(), 1e-4) << "beam " << i;
      ended += want.size() < c["max_new_tokens"];
    }
  }
  EXPECT_GT(cases, 50);
  EXPECT_GT(ended, 50);
}

}  // namespace
}  // namespace lethe
