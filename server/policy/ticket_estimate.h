// How long a ticket will take: what waits before it, and then its own run. Pure.
//
//   TicketForecast forecast = ForecastTicket({.model = model, .forget = SizeOf(sequences),
//                                             .backlog = backlog, .history = runs});
//   *preview->mutable_estimate() = forecast.estimate;     // absent without costs
//   for (const auto& notice : forecast.notices) *preview->add_notices() = notice;
//
// Own run    by the rung given, with the tickets that wait now and will go into the same job: those behind the last
//            full one. The queue is taken to be served in its order, by the model's first rung.
// Wait       what is left of the job that works on the model, and each full job before; then the
//            policy's max_batch_wait, unless this ticket fills its job.
// Threads    pure.
#ifndef LETHE_SERVER_POLICY_TICKET_ESTIMATE_H_
#define LETHE_SERVER_POLICY_TICKET_ESTIMATE_H_

#include <lethe/v1/model.pb.h>
#include <lethe/v1/ticket.pb.h>

#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "engine/estimate.h"

namespace lethe {

// The job that works on the model now.
struct ActiveJob {
  bool verifies = false;   // the candidate is there
  TextSize forget;         // of all its tickets
  absl::Duration elapsed;  // since a worker took it; zero when none has yet
};

// What the model has before it.
struct Backlog {
  std::vector<TextSize> waiting;  // tickets that wait, in queue order; the first of them
  int64_t waiting_in_all = 0;     // how many wait; the rest are taken to be like those
  std::optional<ActiveJob> active;
};

struct ForecastInput {
  const v1::Model& model;
  TextSize forget;
  int rung = 0;  // the first that can be tried
  Backlog backlog;
  std::vector<PastRun> history;  // of the first rung's method and preset
};

struct TicketForecast {
  std::optional<v1::TicketEstimate> estimate;
  std::vector<v1::PreviewNotice> notices;
};

TicketForecast ForecastTicket(const ForecastInput& input);

ModelCosts FromProto(const v1::ModelCosts& costs);

}  // namespace lethe

#endif  // LETHE_SERVER_POLICY_TICKET_ESTIMATE_H_
