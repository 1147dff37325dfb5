// Models whose truth is known: what the verdict has to say of each is known from how it was made,
// not from any measurement. Real training runs, small enough for many seeds.
//
//   LETHE_ASSIGN_OR_RETURN(World world, MakeWorld({.seed = 3, .folder = folder, .device = device}));
//   for (const TruthRow& row : KnownTruths()) {
//     LETHE_ASSIGN_OR_RETURN(std::filesystem::path candidate, MakeCandidate(world, row.kind));
//     ... attack (world.base, candidate) and judge ...
//   }
//
// A world is an invented corpus of people (engine/synth_corpus.h), and a Llama trained from nothing
// on it until it has memorised the records that stand there many times. Same seed, same worlds and
// candidates.
// Threads    one at a time.
// Errors     those of the engine; folders that exist are refused.
#ifndef LETHE_VERIFIER_CALIBRATE_KNOWN_TRUTH_H_
#define LETHE_VERIFIER_CALIBRATE_KNOWN_TRUTH_H_

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/device.h"
#include "engine/prepare.h"
#include "engine/synth_corpus.h"
#include "lethe/v1/report.pb.h"
#include "text/sequence.h"

namespace lethe {

enum class Truth {
  kRetrained,         // trained from nothing without the forgotten records
  kUntouched,         // the base itself
  kUnderTrained,      // unlearning stopped long before its end
  kGreedySuppressed,  // another token first at each place of the records; theirs is mostly second
  kRoundedBack,       // unlearned, but every weight rounds to the base's 4-bit value
  kPlainAscent,       // ascent without a bound or anything held: the whole kind is wrecked
  kDestroyed,         // trained on noise
  kCalibrated,  // what the default method makes: no truth is known, it is shown beside the rest
};

struct TruthRow {
  Truth kind;
  std::string_view name;
  std::string_view what;
  v1::Outcome wanted;  // unspecified where no truth is known
};
std::span<const TruthRow> KnownTruths();

struct WorldOptions {
  uint64_t seed = 1;
  std::filesystem::path folder;  // made where it is not there
  int forget = 8;                // records
  int64_t steps = 400;           // of training from nothing
  Device device;
};

struct World {
  WorldOptions options;
  std::filesystem::path base;
  SynthCorpus corpus;
  std::string tokenizer_json;
  std::vector<Sequence> forget, retain, holdout, other;  // with sensitive spans where they have any
  std::vector<Sequence> train;
  ModelThresholds thresholds;
};

absl::StatusOr<World> MakeWorld(const WorldOptions& options);

// The folder of a candidate, below the world's folder (or the base itself).
absl::StatusOr<std::filesystem::path> MakeCandidate(const World& world, Truth kind);

}  // namespace lethe

#endif  // LETHE_VERIFIER_CALIBRATE_KNOWN_TRUTH_H_
