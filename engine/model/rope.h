// Rotary position frequencies: theta^(-2i/r), stretched as the checkpoint says; r values of a head
// turn.
//
//   std::vector<float> frequencies = InverseFrequencies(config);   // r/2 of them
//
// Position t turns pair i by t * frequencies[i].
// Errors     none: DecoderConfig is checked when it is read.
#ifndef LETHE_ENGINE_MODEL_ROPE_H_
#define LETHE_ENGINE_MODEL_ROPE_H_

#include <vector>

#include "engine/checkpoint/decoder_config.h"

namespace lethe {

std::vector<float> InverseFrequencies(const DecoderConfig& config);

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_ROPE_H_
