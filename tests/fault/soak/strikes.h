// Strikes: which processes die, and when.
//
//   const Strike strike = ChooseStrike(random);
//   Say(StrikeText(strike));
//
// Threads    pure functions on a random generator.
#ifndef LETHE_TESTS_FAULT_SOAK_STRIKES_H_
#define LETHE_TESTS_FAULT_SOAK_STRIKES_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/fault/soak/fleet.h"
#include "tests/fault/soak/moments.h"
#include "tests/fault/soak/world.h"

namespace lethe::soak {

struct Strike {
  Moment moment = Moment::kAnyTime;
  absl::Duration delay;     // after the moment
  std::vector<Role> roles;  // die together
  absl::Duration downtime;  // until they are started again
  bool freeze = false;      // instead of dying they stand still for `downtime`, longer than a lease
};

Strike ChooseStrike(Rng& random);
// "server+verifier at published+3ms"
std::string StrikeText(const Strike& strike);

}  // namespace lethe::soak

#endif  // LETHE_TESTS_FAULT_SOAK_STRIKES_H_
