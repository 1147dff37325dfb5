// How often the verdict is right: every kind of known truth (known_truth.h), over many seeds, each
// attacked and judged as a ticket's candidate is.
//
//   lethe-verifier calibrate --seeds 1-20 --work /var/tmp/calibrate --out results.jsonl
//   lethe-verifier calibrate --table results.jsonl        # the table again, from what was measured
//
// Each line of `out` is one candidate: seed, kind, outcome, wanted, the gates that failed, cost. A
// run that is started again goes on behind what stands there already; several processes may work on
// different seeds.
#ifndef LETHE_VERIFIER_CALIBRATE_CALIBRATE_H_
#define LETHE_VERIFIER_CALIBRATE_CALIBRATE_H_

namespace lethe {

// The command behind `lethe-verifier calibrate`; argv[0] is "calibrate". Returns the exit code: 0,
// 1 when a candidate got another verdict than wanted, 2 for a wrong command line, 4 for a failure.
int CalibrateMain(int argc, char** argv);

}  // namespace lethe

#endif  // LETHE_VERIFIER_CALIBRATE_CALIBRATE_H_
