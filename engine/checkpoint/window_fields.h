// How far back each layer of a decoder sees, as config.json tells it.
//
//   LETHE_ASSIGN_OR_RETURN(config.windows, ParseWindows(fields, row.windows, config.num_layers));
//
// A window of w: a token sees itself and the w - 1 before it. 0: all before it.
// Errors     as ParseDecoderConfig. Threads: any.
#ifndef LETHE_ENGINE_CHECKPOINT_WINDOW_FIELDS_H_
#define LETHE_ENGINE_CHECKPOINT_WINDOW_FIELDS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/checkpoint/config_fields.h"
#include "engine/checkpoint/decoder_families.h"

namespace lethe {

// One each layer; empty where every layer sees everything.
absl::StatusOr<std::vector<int64_t>> ParseWindows(const Fields& fields, WindowFields kind,
                                                  int64_t layers);

}  // namespace lethe

#endif  // LETHE_ENGINE_CHECKPOINT_WINDOW_FIELDS_H_
