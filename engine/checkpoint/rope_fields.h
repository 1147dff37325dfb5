// What config.json says about rotary positions, in either dialect.
//
//   LETHE_ASSIGN_OR_RETURN(config.rope, ParseRope(fields, row.rope, config.context));
//
// transformers 5 writes one object, `rope_parameters`; before, the same stood in `rope_theta` and
// `rope_scaling` (GPT-NeoX: `rotary_emb_base`, `rotary_pct`). Whatever is said twice must agree.
// Errors     as ParseDecoderConfig: MODEL_UNSUPPORTED for a rope_type or a field of those objects
//            that is not understood. Threads: any.
#ifndef LETHE_ENGINE_CHECKPOINT_ROPE_FIELDS_H_
#define LETHE_ENGINE_CHECKPOINT_ROPE_FIELDS_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/checkpoint/config_fields.h"
#include "engine/checkpoint/decoder_config.h"
#include "engine/checkpoint/decoder_families.h"

namespace lethe {

absl::StatusOr<RopeConfig> ParseRope(const Fields& fields, const RopeFields& names,
                                     int64_t context);

}  // namespace lethe

#endif  // LETHE_ENGINE_CHECKPOINT_ROPE_FIELDS_H_
