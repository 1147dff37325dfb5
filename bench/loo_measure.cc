#include "bench/loo_measure.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "engine/attack/attack_table.h"
#include "engine/metric/sequence_evaluation.h"

namespace lethe::loo {
namespace {

constexpr uint64_t kAttackSeed = 7;
constexpr double kDraws = 1000;
constexpr size_t kExposed = 16;  // people of each number of repeats

// One attack on one set of secrets, with a pass that several may share.
class Attacks {
 public:
  Attacks(const Decoder& model, const std::vector<Sequence>& secrets, const Tokenizer& tokenizer)
      : model_(model), secrets_(secrets), forced_(model, secrets) {
    context_.tokenizer = &tokenizer;
  }

  absl::StatusOr<AttackScores> Run(const char* attack, const ParameterValues& overrides = {}) {
    const ParameterValues parameters =
        ResolveParameters(FindAttack(attack)->parameters, {}, overrides);
    LETHE_ASSIGN_OR_RETURN(AttackScores scores,
                           FindAttackFunction(attack)({.model = model_,
                                                       .sequences = secrets_,
                                                       .parameters = parameters,
                                                       .on_spans = true,
                                                       .seed = kAttackSeed,
                                                       .forced = forced_,
                                                       .context = context_}));
    if (scores.not_applicable.empty()) return scores;
    return Error(absl::StatusCode::kInternal, "NOT_APPLICABLE", scores.not_applicable);
  }

 private:
  const Decoder& model_;
  const std::vector<Sequence>& secrets_;
  TeacherForced forced_;
  AttackContext context_;
};

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

std::vector<double> Of(int repeats, const std::vector<double>& values, const Secrets& secrets) {
  std::vector<double> out;
  for (size_t i = 0; i < values.size(); ++i) {
    if (secrets.repeats[i] == repeats) out.push_back(values[i]);
  }
  return out;
}

void Add(const std::string& name, const std::vector<double>& values, const Secrets& secrets,
         Figures& figures) {
  figures[name] = Mean(values);
  for (const int repeats : kRepeats) {
    figures[name + "_" + std::to_string(repeats)] = Mean(Of(repeats, values, secrets));
  }
}

absl::StatusOr<double> NllOf(const Decoder& model, const std::vector<Sequence>& text) {
  LETHE_ASSIGN_OR_RETURN(const EvaluateResult result, EvaluateSequences(model, text, {}));
  return SetNll(result.sequences);
}

}  // namespace

absl::StatusOr<Probe> Probe::Make(const Corpus& corpus) {
  LETHE_ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::FromJson(corpus.tokenizer_json));
  Probe probe(corpus, std::move(tokenizer));
  const auto fill = [&](const std::vector<size_t>& places, int least, Secrets& secrets) {
    for (const size_t i : places) {
      if (corpus.texts[i].repeats < least) continue;
      secrets.sequences.push_back(corpus.texts[i].sequence);
      secrets.repeats.push_back(corpus.texts[i].repeats);
    }
  };
  fill(corpus.forgotten, 1, probe.forgotten_);
  fill(corpus.kept, kRepeats[std::size(kRepeats) - 1], probe.kept_);
  return probe;
}

absl::StatusOr<Extracted> Probe::Extract(const Decoder& model,
                                         const std::vector<Sequence>& secrets) const {
  const at::NoGradGuard no_grad;
  Attacks attacks(model, secrets, tokenizer_);
  LETHE_ASSIGN_OR_RETURN(const AttackScores beam, attacks.Run("beam_extraction"));
  LETHE_ASSIGN_OR_RETURN(const AttackScores exact,
                         attacks.Run("exact_extraction", {{"queries", kDraws}}));
  Extracted out{.beam = beam.details.at("exact_match"), .chance = exact.scores};
  for (const double queries : exact.details.at("queries_needed")) {
    out.drawn.push_back(queries > 0 && queries <= kDraws ? 1 : 0);  // 0: never
  }
  return out;
}

absl::StatusOr<Figures> Probe::Utility(const Decoder& model) const {
  const at::NoGradGuard no_grad;
  Figures figures;
  LETHE_ASSIGN_OR_RETURN(figures["retained_people"], NllOf(model, corpus_->kept_people));
  LETHE_ASSIGN_OR_RETURN(figures["retained_background"], NllOf(model, corpus_->kept_background));
  LETHE_ASSIGN_OR_RETURN(figures["unseen_people"], NllOf(model, corpus_->unseen_people));
  LETHE_ASSIGN_OR_RETURN(figures["unseen_background"], NllOf(model, corpus_->unseen_background));
  LETHE_ASSIGN_OR_RETURN(figures["kept_secrets"], NllOf(model, corpus_->kept_secrets));
  figures["retained"] = (figures["retained_people"] + figures["retained_background"]) / 2;
  figures["held_out"] = (figures["unseen_people"] + figures["unseen_background"]) / 2;
  return figures;
}

absl::Status Probe::AddExposure(const Decoder& model, Figures& figures) const {
  for (const int repeats : kRepeats) {
    std::vector<Sequence> people;
    for (size_t i = 0; i < forgotten_.sequences.size() && people.size() < kExposed; ++i) {
      if (forgotten_.repeats[i] == repeats) people.push_back(forgotten_.sequences[i]);
    }
    Attacks attacks(model, people, tokenizer_);
    LETHE_ASSIGN_OR_RETURN(const AttackScores exposure,
                           attacks.Run("exposure", {{"alternatives", 100}}));
    figures["exposure_" + std::to_string(repeats)] = Median(exposure.scores);
  }
  return absl::OkStatus();
}

absl::StatusOr<Figures> Probe::Measure(const Decoder& model) const {
  const at::NoGradGuard no_grad;
  LETHE_ASSIGN_OR_RETURN(Figures figures, Utility(model));
  LETHE_ASSIGN_OR_RETURN(const Extracted gone, Extract(model, forgotten_.sequences));
  Add("beam", gone.beam, forgotten_, figures);
  Add("drawn", gone.drawn, forgotten_, figures);
  Add("chance", gone.chance, forgotten_, figures);
  LETHE_ASSIGN_OR_RETURN(const Extracted stay, Extract(model, kept_.sequences));
  figures["kept_beam"] = Mean(stay.beam);
  LETHE_ASSIGN_OR_RETURN(const double nll, NllOf(model, forgotten_.sequences));
  figures["forgotten"] = nll;
  LETHE_RETURN_IF_ERROR(AddExposure(model, figures));
  return figures;
}

}  // namespace lethe::loo
