// Chooses the control of an audit: of held-out text, what is most like the forgotten text, so that
// a comparison tells what the model remembers and not how the two differ anyway.
//
//   std::vector<Sequence> control =
//       MatchControl(forgotten, std::move(holdout), retain, {.most = 256});
//
// Alike      in length (the logarithm of the tokens) and in how likely a reference finds them that
//            has seen neither: a trigram model of the text to keep (metric/ngram_reference.h). Two
//            sequences are as far apart as the larger of the two differences, each in the holdout
//            set's standard deviations. Without text to keep, the length alone decides.
// Method     nearest-neighbour matching without replacement (Rubin 1973, Biometrics 29): the
//            forgotten sequences take turns, each takes the nearest that is left. Beyond `least`
//            they take only what is at most `caliper` away.
// Spans      where all forgotten text names sensitive spans, held-out text without any is passed
//            over if as many as `least` have them: one such sequence would turn the audit to whole
//            texts.
// Order      the holdout set's. The model is never asked, so nothing that is measured later can
//            have decided who is compared.
// Threads    pure function; any. Errors: none; a small holdout set is taken whole.
#ifndef LETHE_ENGINE_CONTROL_H_
#define LETHE_ENGINE_CONTROL_H_

#include <cstddef>
#include <span>
#include <vector>

#include "text/sequence.h"

namespace lethe {

struct ControlLimits {
  size_t most = 256;
  size_t least = 48;
  double caliper = 1;  // standard deviations
};

std::vector<Sequence> MatchControl(std::span<const Sequence> forgotten,
                                   std::vector<Sequence> holdout, std::span<const Sequence> retain,
                                   const ControlLimits& limits);

}  // namespace lethe

#endif  // LETHE_ENGINE_CONTROL_H_
