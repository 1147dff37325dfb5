#include "server/metrics.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "base/version.h"

namespace lethe {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;

// Spelled as go-grpc spells them; the index is the code's number.
constexpr const char* kCodeNames[kGrpcCodes] = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

const prometheus::Histogram::BucketBoundaries kSeconds = {
    .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60};
const prometheus::Histogram::BucketBoundaries kSizes = {1,   2,   4,   8,    16,   32,  64,
                                                        128, 256, 512, 1024, 2048, 4096};

constexpr const char* kJobKinds[] = {"prepare", "unlearn", "verify", "audit"};
constexpr const char* kJobOutcomes[] = {"succeeded", "failed", "abandoned", "lost", "returned"};
constexpr const char* kGateResults[] = {"pass", "fail", "no_power"};
constexpr const char* kOutcomes[] = {"pass", "not_forgotten", "hidden", "destroyed",
                                     "inconclusive"};
// Of audits, beside those of verdicts.
constexpr const char* kAuditEnds[] = {"failed", "cancelled", "drained"};

prometheus::Gauge* OneGauge(prometheus::Registry& registry, const char* name, const char* help) {
  return &BuildGauge().Name(name).Help(help).Register(registry).Add({});
}
prometheus::Counter* OneCounter(prometheus::Registry& registry, const char* name,
                                const char* help) {
  return &BuildCounter().Name(name).Help(help).Register(registry).Add({});
}

}  // namespace

Metrics::Metrics(const std::vector<std::string>& attacks)
    : registry_(std::make_shared<prometheus::Registry>()), attacks_(attacks) {
  prometheus::Registry& r = *registry_;
  started_ = &BuildCounter()
                  .Name("grpc_server_started_total")
                  .Help("RPCs started on the server.")
                  .Register(r);
  handled_ = &BuildCounter()
                  .Name("grpc_server_handled_total")
                  .Help("RPCs completed on the server, whatever the status.")
                  .Register(r);
  sent_ = &BuildCounter()
               .Name("grpc_server_msg_sent_total")
               .Help("Messages sent by the server.")
               .Register(r);
  handling_ =
      &BuildHistogram()
           .Name("grpc_server_handling_seconds")
           .Help("Time from the arrival of a call to its status; long polls include their wait.")
           .Register(r);
  jobs_ = &BuildCounter()
               .Name("lethe_jobs_total")
               .Help("Leases that ended, by kind of job and how.")
               .Register(r);
  gates_ = &BuildCounter()
                .Name("lethe_verdict_gates_total")
                .Help("Gates of verdicts, by attack (or figure) and result.")
                .Register(r);
  verdicts_ = &BuildCounter()
                   .Name("lethe_verdicts_total")
                   .Help("Verdicts on candidates, by outcome.")
                   .Register(r);
  audits_ = &BuildCounter()
                 .Name("lethe_audits_total")
                 .Help("Audits that ended, by the verdict's outcome or by what came before it.")
                 .Register(r);
  tickets_ = &BuildGauge().Name("lethe_tickets").Help("Tickets by state.").Register(r);
  teachers_ = &BuildGauge()
                   .Name("lethe_teachers")
                   .Help("Teachers of all corpora, one a shard, by state.")
                   .Register(r);
  oldest_waiting_age_seconds =
      OneGauge(r, "lethe_oldest_waiting_ticket_age_seconds",
               "Age of the oldest ticket that waits for a worker; 0 when none does.");
  deadline_min_seconds = OneGauge(
      r, "lethe_deadline_min_seconds",
      "Seconds to the nearest legal deadline of an open ticket, negative when it has passed; "
      "+Inf when no ticket is open.");
  store_writable = OneGauge(r, "lethe_store_writable",
                            "1 while the store takes writes, 0 after a failed write.");
  watchers = OneGauge(r, "lethe_watchers", "Open WatchTicket and WatchPromotions calls.");
  polls = OneGauge(r, "lethe_polls", "AcquireJob calls that wait for work.");
  calls_in_flight = OneGauge(r, "lethe_calls_in_flight",
                             "Calls that are being answered, polls and watches apart.");
  audit_leaves = OneGauge(r, "lethe_audit_leaves", "Leaves of the audit log.");
  audits_waiting = OneGauge(r, "lethe_audits_waiting", "Audits that wait for a verifier.");
  audits_running = OneGauge(r, "lethe_audits_running", "Audits that a verifier holds.");
  leases_lost =
      OneCounter(r, "lethe_lease_lost_total", "Leases that ended because no heartbeat came.");
  stale_fences = OneCounter(r, "lethe_stale_fence_total",
                            "Calls refused because their fence was no longer the job's.");
  promotions = OneCounter(r, "lethe_promotions_total", "Checkpoints that became current.");
  commands = OneCounter(r, "lethe_commands_total", "Commands that the store decided.");
  commit_batch_size = &BuildHistogram()
                           .Name("lethe_commit_batch_size")
                           .Help("Commands of one synced batch.")
                           .Register(r)
                           .Add({}, kSizes);
  commit_sync_seconds = &BuildHistogram()
                             .Name("lethe_commit_sync_seconds")
                             .Help("Time to write and sync one batch.")
                             .Register(r)
                             .Add({}, kSeconds);
  BuildGauge()
      .Name("lethe_build_info")
      .Help("Always 1; the label tells what runs.")
      .Register(r)
      .Add({{"version", LetheVersion()}})
      .Set(1);
  for (const char* kind : kJobKinds) {
    for (const char* outcome : kJobOutcomes) jobs_->Add({{"kind", kind}, {"outcome", outcome}});
  }
  attacks_.push_back("other");
  for (const std::string& attack : attacks_) {
    for (const char* result : kGateResults) gates_->Add({{"attack", attack}, {"result", result}});
  }
  for (const char* outcome : kOutcomes) {
    verdicts_->Add({{"outcome", outcome}});
    audits_->Add({{"outcome", outcome}});
  }
  for (const char* end : kAuditEnds) audits_->Add({{"outcome", end}});
}

MethodMetrics* Metrics::Method(const std::string& service, const std::string& method,
                               const std::string& type) {
  auto m = std::make_unique<MethodMetrics>();
  const prometheus::Labels labels = {
      {"grpc_type", type}, {"grpc_service", service}, {"grpc_method", method}};
  m->type = type;
  m->started = &started_->Add(labels);
  m->messages_sent = &sent_->Add(labels);
  m->seconds = &handling_->Add(labels, kSeconds);
  for (int code = 0; code < kGrpcCodes; ++code) {
    prometheus::Labels with_code = labels;
    with_code["grpc_code"] = kCodeNames[code];
    m->handled[code] = &handled_->Add(with_code);
  }
  absl::MutexLock lock(&mu_);
  methods_.push_back(std::move(m));
  return methods_.back().get();
}

void Metrics::JobEnded(std::string_view kind, std::string_view outcome) {
  jobs_->Add({{"kind", std::string(kind)}, {"outcome", std::string(outcome)}}).Increment();
}

void Metrics::GateJudged(const std::string& attack, std::string_view result) {
  const bool known = std::find(attacks_.begin(), attacks_.end(), attack) != attacks_.end();
  gates_->Add({{"attack", known ? attack : "other"}, {"result", std::string(result)}}).Increment();
}

void Metrics::VerdictGiven(std::string_view outcome) {
  verdicts_->Add({{"outcome", std::string(outcome)}}).Increment();
}

void Metrics::AuditEnded(std::string_view outcome) {
  audits_->Add({{"outcome", std::string(outcome)}}).Increment();
}

void Metrics::TicketsInState(const std::string& state, double count) {
  tickets_->Add({{"state", state}}).Set(count);
}

void Metrics::TeachersInState(const std::string& state, double count) {
  teachers_->Add({{"state", state}}).Set(count);
}

std::string EnumLabel(const std::string& name, std::string_view prefix) {
  return absl::AsciiStrToLower(name.substr(std::min(prefix.size(), name.size())));
}

}  // namespace lethe
