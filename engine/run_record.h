// How a run was made: enough to make it again on the same kind of device. Goes into lethe.json,
// reports and certificates.
//
// `data_digest` is HMAC-SHA256 over all input sequences under the caller's `digest_key` (a job's
// own): equal inputs of one job give equal digests, and nobody without the key can test a guess of
// the text against it.
#ifndef LETHE_ENGINE_RUN_RECORD_H_
#define LETHE_ENGINE_RUN_RECORD_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/catalog.h"

namespace lethe {

// Of a model that a run learnt from.
struct TeacherRecord {
  std::string digest;                // of its folder
  std::vector<int64_t> left_out_of;  // places in what was forgotten, ascending
};

struct RunRecord {
  std::string method;  // "gradient_ascent", "attacks", "prepare", "train"
  std::string preset;
  // Every one that was used; "micro_batch_tokens" as the last step used it, so less than asked for
  // where memory was short.
  ParameterValues hyperparameters;
  std::string precision;  // of the steps: "fp32", "bf16", "bf16_pure"; empty where there were none
  uint64_t seed = 0;
  std::string data_digest;
  std::vector<TeacherRecord> teachers;    // in the order in which they were averaged
  std::map<std::string, double> figures;  // what the method measured of its own work, by name
  std::string device;                     // "cpu", "cuda:0"
  int threads = 0;
  int ranks = 1;                                 // processes that shared the work
  std::map<std::string, std::string> libraries;  // versions by name
  std::string stop_reason;  // as unlearn.h lists them; empty where nothing was trained
  int64_t steps = 0;        // optimizer steps that count
  double seconds = 0;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_RUN_RECORD_H_
