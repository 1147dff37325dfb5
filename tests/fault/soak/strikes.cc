#include "tests/fault/soak/strikes.h"

#include "absl/strings/str_cat.h"

namespace lethe::soak {
namespace {

constexpr Role S = Role::kServer, W1 = Role::kWorker1, W2 = Role::kWorker2, V = Role::kVerifier;

struct Nasty {
  Moment moment;
  std::vector<std::vector<Role>> victims;  // one of these
};

// Whoever is at work in that moment, whoever waits for its answer, or both. Which of the two
// workers has the job is not known here, so they often go together.
const std::vector<Nasty>& NastyMoments() {
  static const auto* const table = new std::vector<Nasty>{
      {Moment::kAnyTime, {{S}, {W1}, {V}, {S, V}, {W1, W2}, {S, W1}}},
      {Moment::kFiled, {{S}}},
      {Moment::kLeased, {{S}, {W1}, {W1, W2}}},
      {Moment::kSaving, {{S}, {W1, W2}, {S, W1, W2}}},
      {Moment::kPublished, {{S}, {S}, {W1, W2}, {S, W1, W2}, {S, V}}},
      {Moment::kJudging, {{V}, {S}, {S, V}}},
      {Moment::kSwitching, {{S}, {S}, {S, V}}},
      {Moment::kSwept, {{S}}},
      {Moment::kErasing, {{W1, W2}, {W1, W2}, {S, W1, W2}}},
      {Moment::kTraining, {{W1, W2}, {W1, W2}, {S}}},
  };
  return *table;
}

}  // namespace

Strike ChooseStrike(Rng& random) {
  Strike strike;
  if (Chance(random, 12)) {
    // A worker that was only slow: another has its job when it comes back.
    strike.freeze = true;
    strike.moment = Chance(random, 50) ? Moment::kLeased : Moment::kSaving;
    strike.roles = {Chance(random, 50) ? W1 : W2};
    strike.downtime = kLease + absl::Milliseconds(200 + Below(random, 600));
    return strike;
  }
  const auto& nasty = NastyMoments()[Below(random, static_cast<int>(NastyMoments().size()))];
  strike.moment = nasty.moment;
  strike.roles = nasty.victims[Below(random, static_cast<int>(nasty.victims.size()))];
  if (strike.moment == Moment::kAnyTime) {
    strike.delay = absl::Milliseconds(Below(random, 900));
  } else if (strike.moment == Moment::kJudging) {
    strike.delay = absl::Milliseconds(Below(random, 400));
  } else if (Chance(random, 50)) {
    strike.delay = absl::Microseconds(Below(random, 25'000));
  }
  // Now and then longer than a lease: what was accepted must outlive that too.
  strike.downtime = Chance(random, 10) ? kLease + absl::Milliseconds(Below(random, 700))
                                       : absl::Milliseconds(Below(random, 250));
  return strike;
}

std::string StrikeText(const Strike& strike) {
  std::string text;
  for (const Role role : strike.roles) {
    absl::StrAppend(&text, text.empty() ? "" : "+", RoleName(role));
  }
  absl::StrAppend(&text, strike.freeze ? " frozen at " : " at ", MomentName(strike.moment));
  if (strike.delay > absl::ZeroDuration()) {
    absl::StrAppend(&text, "+", absl::ToInt64Milliseconds(strike.delay), "ms");
  }
  return text;
}

}  // namespace lethe::soak
