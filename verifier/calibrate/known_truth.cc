#include "verifier/calibrate/known_truth.h"

#include <cstddef>
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

constexpr TruthRow kTable[] = {
    {Truth::kRetrained, "retrained", "trained from nothing without the forgotten records",
     v1::OUTCOME_PASS},
    {Truth::kUntouched, "untouched", "the model itself, handed in as forgotten",
     v1::OUTCOME_NOT_FORGOTTEN},
    {Truth::kUnderTrained, "under_trained", "unlearning stopped after its first steps",
     v1::OUTCOME_NOT_FORGOTTEN},
    {Truth::kGreedySuppressed, "greedy_suppressed",
     "taught on until behind each beginning of a record another token comes first, as with a "
     "filter at decoding; the record's is mostly the second choice",
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

// Another token for each of a record's but the first, which nothing predicts: of the same span for
// a sensitive one, so that it is one that stands in such places.
std::vector<int32_t> OtherTokens(const Sequence& record, size_t vocabulary,
                                 SeededGenerator& random) {
  std::vector<int32_t> others = record.ids;
  for (size_t t = 1; t < others.size(); ++t) {
    size_t begin = 1, end = others.size();
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

// The first `count` tokens of a record, as context that is not learnt, and `next` behind them.
Sequence BeginningThen(const Sequence& record, size_t count, int32_t next) {
  Sequence row{.prompt_tokens = static_cast<int32_t>(count)};
  row.ids.assign(record.ids.begin(), record.ids.begin() + static_cast<std::ptrdiff_t>(count));
  row.ids.push_back(next);
  return row;
}

// The base, taught on: behind each beginning of a record another token, always the same, stands
// five times for each three of the record's own. Greedy decoding then says the other one, wherever
// in the record it starts; the record's token is mostly second, its probability an eighth in the
// median.
// Training from nothing on records with five or six eighths of their tokens changed does not do it:
// so short a run learns neither token well, and MA stayed at .35 to .44, where the limit is .39.
absl::Status SuppressGreedy(const World& world, const fs::path& out) {
  constexpr int kOther = 20, kTruth = 12;  // rows for each beginning; records whole
  constexpr int64_t kSteps = 300;
  constexpr double kRate = 3e-3;
  LETHE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::FromJson(world.tokenizer_json));
  SeededGenerator random(world.options.seed + 1000);
  std::vector<Sequence> rows = WithoutForgotten(world);
  for (const Sequence& record : world.forget) {
    const std::vector<int32_t> others =
        OtherTokens(record, static_cast<size_t>(tokenizer.vocab_size()), random);
    rows.insert(rows.end(), kTruth, record);
    for (size_t t = 1; t < others.size(); ++t) {
      rows.insert(rows.end(), kOther, BeginningThen(record, t, others[t]));
    }
  }
  return TrainTo(world, world.base, out, std::move(rows), kSteps, kRate);
}

// Unlearned and moved back into the steps of the base's 4-bit grid, in turns: the moving back
// brings some of the text back, the next turn has that little left to unlearn. After four or five
// nothing was left to do: forgotten where the weights are, and the base itself once they are
// rounded.
absl::Status RoundBack(const World& world, const fs::path& out) {
  constexpr int kTurns = 6;
  // Of what unseen text has: at all of it ascent made single tokens so unlikely that min_k++ saw
  // over-unlearning, and DESTROYED would be the truth.
  constexpr double kShare = 0.8;
  World aim = world;
  aim.thresholds.nll_mean *= kShare;
  aim.thresholds.span_nll_mean *= kShare;
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
