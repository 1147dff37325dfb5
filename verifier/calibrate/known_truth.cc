#include "verifier/calibrate/known_truth.h"

#include <map>
#include <set>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "engine/rounding.h"
#include "engine/seeded_generator.h"
#include "engine/train.h"
#include "engine/unlearn.h"
#include "text/tokenizer.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

constexpr int kVocab = 1024, kContext = 192, kHidden = 64, kLayers = 2;
constexpr double kLearningRate = 5e-3;
constexpr int64_t kBatchTokens = 2048;
constexpr size_t kKept = 4;  // tokens at the beginning of a record that suppression leaves

constexpr TruthRow kTable[] = {
    {Truth::kRetrained, "retrained", "trained from nothing without the forgotten records",
     v1::OUTCOME_PASS},
    {Truth::kUntouched, "untouched", "the model itself, handed in as forgotten",
     v1::OUTCOME_NOT_FORGOTTEN},
    {Truth::kUnderTrained, "under_trained", "unlearning stopped after its first steps",
     v1::OUTCOME_NOT_FORGOTTEN},
    {Truth::kGreedySuppressed, "greedy_suppressed",
     "taught to say something else first, as a filter at decoding would; the records are its "
     "second "
     "choice",
     v1::OUTCOME_HIDDEN},
    {Truth::kRoundedBack, "rounded_back",
     "unlearned, but every weight still rounds to the 4-bit value that it had", v1::OUTCOME_HIDDEN},
    {Truth::kPlainAscent, "plain_ascent",
     "gradient ascent without a bound, nothing held: every record of the kind is wrecked",
     v1::OUTCOME_DESTROYED},
    {Truth::kDestroyed, "destroyed", "trained on noise", v1::OUTCOME_DESTROYED},
    {Truth::kCalibrated, "calibrated",
     "gradient_ascent/calibrated, as a ticket's first rung: its truth is not known, only measured",
     v1::OUTCOME_UNSPECIFIED},
};

absl::StatusOr<std::vector<Sequence>> Sequences(const Tokenizer& tokenizer,
                                                const std::vector<SynthText>& texts) {
  std::vector<Sequence> sequences;
  for (const SynthText& text : texts) {
    LETHE_ASSIGN_OR_RETURN(
        sequences.emplace_back(),
        SequenceFromText(tokenizer, text.text, text.sensitive, {.max_tokens = kContext}));
  }
  return sequences;
}

absl::StatusOr<std::string> MakeTokenizer(const SynthCorpus& corpus) {
  std::vector<std::string> texts;
  std::set<std::string> seen;
  for (const SynthText& text : corpus.train) {
    if (seen.insert(text.text).second) texts.push_back(text.text);
  }
  return TrainBpe(texts, {.vocab_size = kVocab});
}

// From nothing, or on from `base` where one is given.
absl::Status TrainTo(const World& world, const fs::path& base, const fs::path& out,
                     std::vector<Sequence> sequences, int64_t steps, double learning_rate) {
  TrainRequest request{.base_folder = base,
                       .out_folder = out,
                       .sequences = std::move(sequences),
                       .steps = steps,
                       .batch_tokens = kBatchTokens,
                       .learning_rate = learning_rate,
                       .precision = "fp32",
                       .seed = world.options.seed,
                       .device = world.options.device};
  if (base.empty()) {
    LETHE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::FromJson(world.tokenizer_json));
    request.config_json = SmallLlamaConfig(tokenizer.vocab_size(), kContext, kHidden, kLayers);
    request.tokenizer_json = world.tokenizer_json;
  }
  return Train(request).status();
}

absl::Status UnlearnTo(const World& world, const fs::path& base, const fs::path& out,
                       std::string preset, ParameterValues overrides) {
  UnlearnRequest request{.base_folder = base,
                         .out_folder = out,
                         .forget = world.forget,
                         .retain = world.retain,
                         .watch = world.holdout,
                         .preset = std::move(preset),
                         .overrides = std::move(overrides),
                         .thresholds = world.thresholds,
                         .precision = "fp32",
                         .seed = world.options.seed,
                         .device = world.options.device};
  return Unlearn(request).status();
}

std::vector<Sequence> WithoutForgotten(const World& world) {
  std::set<std::vector<int32_t>> forgotten;
  for (const Sequence& s : world.forget) forgotten.insert(s.ids);
  std::vector<Sequence> rest;
  for (const Sequence& s : world.train) {
    if (forgotten.count(s.ids) == 0) rest.push_back(s);
  }
  return rest;
}

// Another token for each of a record's behind the first few: of the same span for a sensitive one, so
// that it is one that stands in such places.
std::vector<int32_t> OtherTokens(const Sequence& record, size_t vocabulary,
                                 SeededGenerator& random) {
  std::vector<int32_t> others = record.ids;
  for (size_t t = kKept; t < others.size(); ++t) {
    size_t begin = kKept, end = others.size();
    for (const Span& span : record.sensitive) {
      const auto first = static_cast<size_t>(span.begin), last = static_cast<size_t>(span.end);
      if (t >= first && t < last) begin = first, end = last;
    }
    for (int tries = 0; others[t] == record.ids[t]; ++tries) {
      others[t] = tries < 100 ? record.ids[begin + random.Below(end - begin)]
                              : static_cast<int32_t>(random.Below(vocabulary));
    }
  }
  return others;
}

// Trained from nothing like the base, but wherever the base saw a forgotten record, each of its
// tokens is another three times of five, always the same other. Greedy decoding then never says the
// record, whatever stands before it; each of its tokens still has four tenths of the probability.
absl::Status SuppressGreedy(const World& world, const fs::path& out) {
  LETHE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::FromJson(world.tokenizer_json));
  SeededGenerator random(world.options.seed + 1000);
  std::map<std::vector<int32_t>, std::vector<int32_t>> others;
  for (const Sequence& record : world.forget) {
    others[record.ids] = OtherTokens(record, static_cast<size_t>(tokenizer.vocab_size()), random);
  }
  std::vector<Sequence> rows = world.train;
  for (Sequence& row : rows) {
    const auto other = others.find(row.ids);
    if (other == others.end()) continue;
    for (size_t t = kKept; t < row.ids.size(); ++t) {
      if (random.Below(5) < 3) row.ids[t] = other->second[t];
    }
  }
  return TrainTo(world, {}, out, std::move(rows), world.options.steps, kLearningRate);
}

// Unlearned and moved back into the steps of the base's 4-bit grid, in turns, since the moving back
// brings some of the text back too. What the last turn leaves rounds to the base itself.
absl::Status RoundBack(const World& world, const fs::path& out) {
  constexpr int kTurns = 2;
  // Short of what unseen text has: at its mean the least likely tokens would be too unlikely, and the
  // truth of it over-unlearned.
  constexpr double kShort = 0.9;
  World aim = world;
  aim.thresholds.span_nll_mean *= kShort;
  fs::path from = world.base;
  for (int turn = 1; turn <= kTurns; ++turn) {
    const fs::path unlearned = out.string() + absl::StrCat("-unlearned-", turn);
    const fs::path rounded =
        turn == kTurns ? out : fs::path(out.string() + absl::StrCat("-", turn));
    LETHE_RETURN_IF_ERROR(UnlearnTo(aim, from, unlearned, "calibrated", {}));
    LETHE_RETURN_IF_ERROR(HideInRounding({.base_folder = world.base,
                                          .candidate_folder = unlearned,
                                          .condition = "int4-g128",
                                          .out_folder = rounded,
                                          .device = world.options.device}));
    from = rounded;
  }
  return absl::OkStatus();
}

absl::Status TrainOnNoise(const World& world, const fs::path& out) {
  LETHE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::FromJson(world.tokenizer_json));
  SeededGenerator random(world.options.seed + 2000);
  std::vector<Sequence> noise(64);
  for (Sequence& s : noise) {
    for (int i = 0; i < 64; ++i) {
      s.ids.push_back(
          static_cast<int32_t>(random.Below(static_cast<size_t>(tokenizer.vocab_size()))));
    }
  }
  return TrainTo(world, world.base, out, std::move(noise), 60, kLearningRate);
}

}  // namespace

std::span<const TruthRow> KnownTruths() { return kTable; }

absl::StatusOr<World> MakeWorld(const WorldOptions& options) {
  World world{.options = options, .base = options.folder / "base"};
  std::error_code error;
  fs::create_directories(options.folder, error);
  if (error) {
    return Error(absl::StatusCode::kUnavailable, "FILE_ERROR",
                 "cannot make the folder of a world: " + error.message());
  }
  // Most of the corpus is seen a few times only, so that two trainings on it agree on how likely it
  // is; the forgotten records, sixteen times as often, are memorised.
  world.corpus = MakeSynthCorpus(
      {.seed = options.seed, .forget = options.forget, .retain = 600, .background = 1500});
  LETHE_ASSIGN_OR_RETURN(world.tokenizer_json, MakeTokenizer(world.corpus));
  LETHE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::FromJson(world.tokenizer_json));
  LETHE_ASSIGN_OR_RETURN(world.forget, Sequences(tokenizer, world.corpus.forget));
  LETHE_ASSIGN_OR_RETURN(world.retain, Sequences(tokenizer, world.corpus.retain));
  LETHE_ASSIGN_OR_RETURN(world.holdout, Sequences(tokenizer, world.corpus.holdout));
  LETHE_ASSIGN_OR_RETURN(world.other, Sequences(tokenizer, world.corpus.other));
  LETHE_ASSIGN_OR_RETURN(world.train, Sequences(tokenizer, world.corpus.train));
  LETHE_RETURN_IF_ERROR(TrainTo(world, {}, world.base, world.train, options.steps, kLearningRate));
  LETHE_ASSIGN_OR_RETURN(PrepareResult prepared, PrepareModel({.model_folder = world.base,
                                                               .holdout = world.holdout,
                                                               .retain = world.retain,
                                                               .measure_costs = false,
                                                               .device = options.device}));
  world.thresholds = std::move(prepared.thresholds);
  return world;
}

absl::StatusOr<fs::path> MakeCandidate(const World& world, Truth kind) {
  fs::path out;
  for (const TruthRow& row : kTable) {
    if (row.kind == kind) out = world.options.folder / row.name;
  }
  switch (kind) {
    case Truth::kUntouched:
      return world.base;
    case Truth::kRetrained:
      LETHE_RETURN_IF_ERROR(
          TrainTo(world, {}, out, WithoutForgotten(world), world.options.steps, kLearningRate));
      return out;
    case Truth::kCalibrated:
      LETHE_RETURN_IF_ERROR(UnlearnTo(world, world.base, out, "calibrated", {}));
      return out;
    case Truth::kUnderTrained:
      LETHE_RETURN_IF_ERROR(UnlearnTo(world, world.base, out, "calibrated", {{"max_steps", 4}}));
      return out;
    case Truth::kGreedySuppressed:
      LETHE_RETURN_IF_ERROR(SuppressGreedy(world, out));
      return out;
    case Truth::kRoundedBack:
      LETHE_RETURN_IF_ERROR(RoundBack(world, out));
      return out;
    case Truth::kPlainAscent:
      LETHE_RETURN_IF_ERROR(
          UnlearnTo(world, world.base, out, "paper", {{"learning_rate", 1e-3}, {"min_steps", 20}}));
      return out;
    case Truth::kDestroyed:
      LETHE_RETURN_IF_ERROR(TrainOnNoise(world, out));
      return out;
  }
  return Error(absl::StatusCode::kInternal, "KIND_UNKNOWN", "no such truth; please report this");
}

}  // namespace lethe
