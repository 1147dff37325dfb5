// Everything the server tells Prometheus. Names of RPC metrics are go-grpc's, ours begin with
// lethe_.
//
//   Metrics metrics;
//   MethodMetrics* m = metrics.Method("lethe.v1.DeletionService", "CreateTicket", "unary");
//   m->started->Increment();
//
// Rule       no label holds an id or anything a caller chooses: services, methods, codes, states,
//            kinds, outcomes, attacks of the catalogue.
// Series     exist from the start with value 0, so that
//            rate() and alerts work before the first event.
// Threads    any.
#ifndef LETHE_SERVER_METRICS_H_
#define LETHE_SERVER_METRICS_H_

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <array>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace lethe {

inline constexpr int kGrpcCodes = 17;

// The series of one RPC.
struct MethodMetrics {
  std::string type;  // "unary" or "server_stream"
  prometheus::Counter* started = nullptr;
  std::array<prometheus::Counter*, kGrpcCodes> handled{};  // by status code
  prometheus::Counter* messages_sent = nullptr;
  prometheus::Histogram* seconds = nullptr;
};

class Metrics {
 public:
  // `attacks`: the names that lethe_verdict_gates_total may show.
  explicit Metrics(const std::vector<std::string>& attacks = {});

  std::shared_ptr<prometheus::Registry> registry() const { return registry_; }

  // Makes the series of an RPC; lives as long as this object.
  MethodMetrics* Method(const std::string& service, const std::string& method,
                        const std::string& type);

  // `outcome`: succeeded, failed, abandoned, lost, returned.
  void JobEnded(std::string_view kind, std::string_view outcome);
  // `result`: pass, fail, no_power. Gates of an attack outside the catalogue count as "other".
  void GateJudged(const std::string& attack, std::string_view result);
  void VerdictGiven(std::string_view outcome);
  // `outcome`: that of the verdict, or failed, cancelled, drained.
  void AuditEnded(std::string_view outcome);
  void TicketsInState(const std::string& state, double count);
  void TeachersInState(const std::string& state, double count);

  // Set by maintenance and by the store's observer.
  prometheus::Gauge* oldest_waiting_age_seconds;
  prometheus::Gauge* deadline_min_seconds;
  prometheus::Gauge* store_writable;
  prometheus::Gauge* watchers;
  prometheus::Gauge* polls;
  prometheus::Gauge* calls_in_flight;
  prometheus::Gauge* audit_leaves;
  prometheus::Gauge* audits_waiting;
  prometheus::Gauge* audits_running;
  prometheus::Counter* leases_lost;
  prometheus::Counter* stale_fences;
  prometheus::Counter* promotions;
  prometheus::Counter* commands;
  prometheus::Histogram* commit_batch_size;
  prometheus::Histogram* commit_sync_seconds;

 private:
  const std::shared_ptr<prometheus::Registry> registry_;
  prometheus::Family<prometheus::Counter>* started_;
  prometheus::Family<prometheus::Counter>* handled_;
  prometheus::Family<prometheus::Counter>* sent_;
  prometheus::Family<prometheus::Histogram>* handling_;
  prometheus::Family<prometheus::Counter>* jobs_;
  prometheus::Family<prometheus::Counter>* gates_;
  prometheus::Family<prometheus::Counter>* verdicts_;
  prometheus::Family<prometheus::Counter>* audits_;
  prometheus::Family<prometheus::Gauge>* tickets_;
  prometheus::Family<prometheus::Gauge>* teachers_;
  std::vector<std::string> attacks_;
  absl::Mutex mu_;
  std::vector<std::unique_ptr<MethodMetrics>> methods_ ABSL_GUARDED_BY(mu_);
};

// A label's value from an enumerator's name: "OUTCOME_NOT_FORGOTTEN" with the prefix "OUTCOME_"
// gives "not_forgotten".
std::string EnumLabel(const std::string& name, std::string_view prefix);

}  // namespace lethe

#endif  // LETHE_SERVER_METRICS_H_
