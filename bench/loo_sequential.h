// Many tickets on one model: one after another, in batches, and all at once.
//
//   LETHE_RETURN_IF_ERROR(loo::RunTickets(row, setting, {.tickets = 100, .batch = 10}, take));
//
// A ticket is one person of corpus.forgotten, the most often told first, then shuffled by the seed. A
// batch is one job as a worker makes it: the engine's method with its own stop rule and guard, its base
// the candidate of the job before; what is kept is held where that base has it. So small losses add up,
// and nothing but the measuring looks back to the first model.
//
// Looks      after each tenth of the tickets: extraction over all tickets so far ("done_beam"), over
//            those still to come ("coming_beam"), utility, and the jobs' steps and ends so far:
//            "ended_by_rule" (thresholds or targets reached, settled), "at_max_steps", "stalled",
//            "refused" (diverged; the model is then as before that job).
// Errors     as the methods.
#ifndef LETHE_BENCH_LOO_SEQUENTIAL_H_
#define LETHE_BENCH_LOO_SEQUENTIAL_H_

#include "bench/loo_methods.h"

namespace lethe::loo {

// What is compared, where --methods does not say otherwise.
inline constexpr char kTicketMethods[] = "loo,calibrated,ascent_alone";

// "loo/10": the name of a run in the file of points.
std::string TicketRun(const std::string& method, int batch);

struct TicketOptions {
  int tickets = 100;
  int batch = 1;
  int64_t max_steps = 0;  // of a job; 0: the preset's
};

absl::Status RunTickets(const MethodRow& row, const Setting& setting, const TicketOptions& options,
                        const Take& take);

}  // namespace lethe::loo

#endif  // LETHE_BENCH_LOO_SEQUENTIAL_H_
