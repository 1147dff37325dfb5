// What each attack of a plan costs, in forward tokens and seconds, beside what was said before and
// beside the naive way; and the plan's sum as a multiple of EL_10's alone.
//
//   bench_verify --model DIR --text corpus.jsonl            --plan NAME, --attack NAME[@CONDITION]
//
// Base and candidate are the same folder, so every figure is that of two models. Forgotten text and
// control are the first sequences of the file, cut to one length.
//
// Naive      EL             one greedy generation from every prefix: (T-1)^2 forward tokens a
//                           sequence. Timed: every `--stride`th prefix of one sequence, each in a
//                           call of its own, times stride and sequences.
//            exact chances  as many real draws as the attack counts on (its `queries`) from each
//                           of its three prefixes for each of its three schemes: with fewer draws a
//                           rate of one in so many could not be told from none. Timed: 64 draws of
//                           one sequence from its middle.
//            greedy         a generation from each quarter. Timed: one sequence.
//            the shared     a pass over the text for each attack that reads it. Timed: one pass.
//            pass           Its tokens stand with the first of them; the ratio of exact chances is
//                           to the pass.
//            Others are done as anyone would, in larger batches.
// Limit      the whole plan, conditions and all: 3 times the forward tokens of EL_10.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>

#include "engine/attack.h"
#include "engine/attack_cost.h"
#include "engine/loss/sequence_loss.h"
#include "engine/model/generate.h"
#include "engine/model/model_folder.h"
#include "text/tokenizer.h"

namespace lethe {
namespace {

constexpr double kLimit = 3;
constexpr int64_t kDraws = 64;

struct Options {
  std::string model, text, plan = "standard";
  std::vector<std::string> attacks;
  int threads = 0;
  size_t sequences = 32, control = 32, retain = 32, tokens = 200;
  int64_t stride = 20;
};

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Texts {
  std::vector<Sequence> forgotten, control, retain, others;
};

absl::StatusOr<Texts> LoadTexts(const Options& options) {
  LETHE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::Load(options.model));
  LETHE_ASSIGN_OR_RETURN(const std::vector<Sequence> all, LoadSequences(options.text, &tokenizer));
  Texts texts;
  for (const Sequence& s : all) {
    if (s.ids.size() < options.tokens) continue;
    std::vector<Sequence>* to = nullptr;
    if (texts.forgotten.size() < options.sequences) {
      to = &texts.forgotten;
    } else if (texts.control.size() < options.control) {
      to = &texts.control;
    } else if (texts.retain.size() < options.retain) {
      to = &texts.retain;
    } else if (texts.others.size() < options.retain) {
      to = &texts.others;
    } else {
      return texts;
    }
    to->push_back({.ids = {s.ids.begin(), s.ids.begin() + static_cast<int64_t>(options.tokens)}});
  }
  if (!texts.control.empty()) return texts;
  return Error(absl::StatusCode::kInvalidArgument, "TOO_FEW_SEQUENCES",
               options.text + " has too few sequences of " + std::to_string(options.tokens) +
                   " tokens; ask for fewer or shorter ones");
}

std::vector<AttackSpec> PlanFrom(const Options& options) {
  std::vector<AttackSpec> plan = PlanOf(options.plan);
  for (const std::string& word : options.attacks) {
    const size_t at = word.find('@');
    plan.push_back({.attack = word.substr(0, at),
                    .condition = at == std::string::npos ? "" : word.substr(at + 1)});
  }
  return plan;
}

// Tokens and seconds of both models; tokens 0: there is no naive way to compare with. `shared`: of
// the pass that the attack reads, whoever is charged with it.
struct Naive {
  double tokens = 0, seconds = 0, shared = 0;
};

class NaiveWay {
 public:
  NaiveWay(const Decoder& model, const Texts& texts, int64_t stride)
      : model_(model),
        some_(texts.forgotten.front()),
        models_times_sequences_(2.0 *
                                static_cast<double>(texts.forgotten.size() + texts.control.size())),
        stride_(stride) {}

  absl::StatusOr<Naive> Of(const AttackOutcome& outcome) const {
    const auto length = static_cast<double>(some_.ids.size());
    if (outcome.attack == "extraction_likelihood") {
      LETHE_ASSIGN_OR_RETURN(const double seconds, PrefixSeconds());
      return Times({(length - 1) * (length - 1), seconds});
    }
    if (outcome.attack == "exact_extraction") {
      const double suffix = std::min(length / 2, outcome.parameters.at("max_suffix_tokens"));
      const double prefixes = 3, schemes = 3;
      const double draws = prefixes * schemes * outcome.parameters.at("queries");
      LETHE_ASSIGN_OR_RETURN(const double seconds, DrawSeconds(static_cast<int64_t>(suffix)));
      return Times({prefixes * schemes * length / 2 + draws * suffix, draws * seconds, length});
    }
    if (outcome.attack == "greedy_extraction") {
      if (outcome.condition.find("relearned") == 0) return Naive{};  // teaching is the most of it
      LETHE_ASSIGN_OR_RETURN(const double seconds, QuarterSeconds());
      return Times({3 * (length - 1), seconds});
    }
    if (ReadsSharedPass(outcome.attack) && outcome.attack != "sampled_extraction") {
      const double begin = Now();
      LETHE_RETURN_IF_ERROR(ScoreSequences(model_, std::vector<Sequence>{some_}).status());
      return Times({length, Now() - begin});
    }
    return Naive{};
  }

 private:
  Naive Times(const Naive& one) const {
    return {models_times_sequences_ * one.tokens, models_times_sequences_ * one.seconds,
            models_times_sequences_ * one.shared};
  }

  // One sequence: a call for each prefix.
  absl::StatusOr<double> PrefixSeconds() const {
    const auto length = static_cast<int64_t>(some_.ids.size());
    const double begin = Now();
    for (int64_t i = 1; i < length; i += stride_) {
      const std::vector<TokenIds> prefix = {{some_.ids.begin(), some_.ids.begin() + i}};
      LETHE_RETURN_IF_ERROR(
          GenerateContinuations(model_, prefix, {.max_new_tokens = length - i}).status());
    }
    return (Now() - begin) * static_cast<double>(stride_);
  }

  // One sequence: a call for each quarter.
  absl::StatusOr<double> QuarterSeconds() const {
    const auto length = static_cast<int64_t>(some_.ids.size());
    const double begin = Now();
    for (int64_t i = 1; i < 4; ++i) {
      const int64_t after = i * length / 4;
      const std::vector<TokenIds> prefix = {{some_.ids.begin(), some_.ids.begin() + after}};
      LETHE_RETURN_IF_ERROR(
          GenerateContinuations(model_, prefix, {.max_new_tokens = length - after}).status());
    }
    return Now() - begin;
  }

  absl::StatusOr<double> DrawSeconds(int64_t suffix) const {
    const auto half = static_cast<int64_t>(some_.ids.size() / 2);
    const std::vector<TokenIds> prefix = {{some_.ids.begin(), some_.ids.begin() + half}};
    const double begin = Now();
    LETHE_RETURN_IF_ERROR(
        GenerateContinuations(model_, prefix,
                              {.max_new_tokens = suffix, .samples = kDraws, .temperature = 1})
            .status());
    return (Now() - begin) / static_cast<double>(kDraws);
  }

  const Decoder& model_;
  const Sequence& some_;
  const double models_times_sequences_;
  const int64_t stride_;
};

absl::Status PrintRow(const AttackOutcome& a, const NaiveWay& naive) {
  std::printf("%-46s %12ld %12ld %9.2f",
              (a.attack + (a.condition.empty() ? "" : "@") + a.condition).c_str(),
              a.expected_forward_tokens, a.forward_tokens, a.seconds);
  LETHE_ASSIGN_OR_RETURN(const Naive other, naive.Of(a));
  if (other.tokens > 0) {
    std::printf(" %14.0f %10.2f", other.tokens, other.seconds);
    const double tokens = std::max(static_cast<double>(a.forward_tokens), other.shared);
    if (tokens > 0) std::printf(" %8.1f", other.tokens / tokens);
    if (a.forward_tokens > 0) std::printf(" %8.1f", other.seconds / a.seconds);
  }
  std::printf("\n");
  std::fflush(stdout);
  return absl::OkStatus();
}

absl::StatusOr<int> Run(const Options& options) {
  LETHE_ASSIGN_OR_RETURN(const Device device,
                         OpenDevice({.device = "cpu", .threads = options.threads}));
  LETHE_ASSIGN_OR_RETURN(const Texts texts, LoadTexts(options));
  AttackRequest request{.base_folder = options.model,
                        .candidate_folder = options.model,
                        .forgotten = texts.forgotten,
                        .control = texts.control,
                        .plan = PlanFrom(options),
                        .seed = 1,
                        .device = device};
  if (!texts.retain.empty()) request.texts.push_back({"retain", texts.retain});
  if (!texts.others.empty()) request.texts.push_back({"others", texts.others});
  std::printf(
      "%zu forgotten and %zu control sequences of %zu tokens, two models, fp32, %s, "
      "%d threads, %s\n",
      texts.forgotten.size(), texts.control.size(), options.tokens, options.model.c_str(),
      device.threads, device.cpu_capability.c_str());
  LETHE_ASSIGN_OR_RETURN(const AttackReport report, RunAttacks(request));
  LETHE_ASSIGN_OR_RETURN(const ModelFolder folder, ModelFolder::Load(options.model, device));
  const NaiveWay naive(folder.model, texts, options.stride);
  std::printf("%-46s %12s %12s %9s %14s %10s %8s %8s\n", "attack", "expected", "forward", "seconds",
              "naive forward", "seconds", "tokens/", "seconds/");
  int64_t as_is = 0, all = 0, el = 0;
  double seconds = 0;
  for (const AttackOutcome& outcome : report.attacks) {
    LETHE_RETURN_IF_ERROR(PrintRow(outcome, naive));
    all += outcome.forward_tokens;
    seconds += outcome.seconds;
    if (!outcome.condition.empty()) continue;
    as_is += outcome.forward_tokens;
    if (outcome.attack == "extraction_likelihood") el = outcome.forward_tokens;
  }
  for (const LeftOut& left : report.left_out) {
    std::printf("%-46s left out: %s\n",
                (left.attack + (left.condition.empty() ? "" : "@") + left.condition).c_str(),
                left.reason.c_str());
  }
  std::printf("%-46s %12s %12ld %9.2f\n", "all", "", all, seconds);
  if (el == 0) return 0;
  const double times = static_cast<double>(all) / static_cast<double>(el);
  std::printf(
      "the plan is %.2f times EL_10 alone (limit %.0f: %s); without its conditions %.2f times\n",
      times, kLimit, times <= kLimit ? "kept" : "EXCEEDED",
      static_cast<double>(as_is) / static_cast<double>(el));
  return times <= kLimit ? 0 : 1;
}

}  // namespace
}  // namespace lethe

int main(int argc, char** argv) {
  lethe::LetThreadsSleep(argv);
  lethe::Options options;
  CLI::App app("The cost of each attack beside the naive way.", "bench_verify");
  app.add_option("--model", options.model, "Hugging Face folder")->required();
  app.add_option("--text", options.text, "JSON Lines of text or ids")->required();
  app.add_option("--plan", options.plan, "A plan of the catalogue, or none");
  app.add_option("--attack", options.attacks, "NAME[@CONDITION], beside the plan's");
  app.add_option("--threads", options.threads, "CPU threads; 0: one a core");
  app.add_option("--sequences", options.sequences, "Forgotten sequences")
      ->check(CLI::Range(1, 1000));
  app.add_option("--control", options.control, "Control sequences")->check(CLI::Range(1, 1000));
  app.add_option("--retain", options.retain, "Sequences of each of the two other texts");
  app.add_option("--tokens", options.tokens, "Tokens of each")->check(CLI::Range(30, 1 << 20));
  app.add_option("--stride", options.stride, "The naive EL does every so many-th prefix")
      ->check(CLI::Range(1, 1000));
  CLI11_PARSE(app, argc, argv);
  const absl::StatusOr<int> code = lethe::Run(options);
  if (code.ok()) return *code;
  std::fprintf(stderr, "bench_verify: %s\n", std::string(code.status().message()).c_str());
  return 2;
}
