// World: what the soak is about. A tiny Llama that has memorised a few invented phrases, the sets
// that a registration needs, a policy under which most tickets end well and some do not, and
// tickets to file.
//
//   LETHE_ASSIGN_OR_RETURN(World world, World::Make(folder, bin, seed));
//   v1::CreateTicketRequest ticket = world.Ticket(random, "r-1", "soak-1");
//
// Real model: lethe-engine trains it in two seconds, so nothing has to be downloaded. Half of the
// phrases stand in the training text and must be unlearned; some stand in the retain set too, where
// forgetting is refused or found wanting; the rest the model never saw.
//
// Threads    Ticket and Registration are const: any.
#ifndef LETHE_TESTS_FAULT_SOAK_WORLD_H_
#define LETHE_TESTS_FAULT_SOAK_WORLD_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lethe/v1/deletion_service.pb.h"
#include "lethe/v1/model_service.pb.h"
#include "text/tokenizer.h"

namespace lethe::soak {

using Rng = std::mt19937_64;

// Uniform in [0, bound).
inline int Below(Rng& random, int bound) {
  return std::uniform_int_distribution<int>(0, bound - 1)(random);
}
inline bool Chance(Rng& random, int percent) { return Below(random, 100) < percent; }

class World {
 public:
  static absl::StatusOr<World> Make(const std::filesystem::path& folder,
                                    const std::filesystem::path& programs, uint64_t seed);

  v1::RegisterModelRequest Registration(const std::string& model) const;
  // What the model was trained on, by person: each memorised phrase is somebody's.
  v1::RegisterCorpusRequest CorpusOf(const std::string& model) const;
  // A ticket of person `i` of the corpus, by person or by document.
  v1::CreateTicketRequest PersonTicket(Rng& random, int i, const std::string& request_id,
                                       const std::string& model) const;
  // Token ids of the phrase of person `i`, of so many.
  std::vector<int32_t> PhraseOf(int i) const;
  int people() const { return static_cast<int>(memorised_.size()); }
  static std::string PersonName(int i);
  std::filesystem::path folder() const { return folder_; }
  v1::CreateTicketRequest Ticket(Rng& random, const std::string& request_id,
                                 const std::string& model) const;

 private:
  std::filesystem::path folder_;
  std::vector<std::string> memorised_, unseen_, kept_;
  std::optional<Tokenizer> tokenizer_;
};

}  // namespace lethe::soak

#endif  // LETHE_TESTS_FAULT_SOAK_WORLD_H_
