// The one table of all options of lethe-server.
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/config.h"

namespace lethe {
namespace {

using C = ServerConfig;
constexpr double kKib = 1024, kMib = 1024 * kKib, kDay = 86'400;

}  // namespace

const std::vector<ConfigOption>& ConfigOptions() {
  // name, field, smallest, largest (seconds for durations), section, help
  static const auto* const options = new std::vector<ConfigOption>{
      {"listen_address", &C::listen_address, 0, 0, "Where it listens",
       "Address and port of the gRPC services; port 0 takes a free one. unix:/path is a local "
       "socket."},
      {"metrics_address", &C::metrics_address, 0, 0, "Where it listens",
       "Address and port of Prometheus' /metrics; \"none\" or empty: no metrics."},
      {"port_file", &C::port_file, 0, 0, "Where it listens",
       "File that gets one line, \"PORT METRICS_PORT\" (0: none), once both are open. For port 0; "
       "empty: no file."},
      {"allow_insecure", &C::allow_insecure, 0, 0, "Where it listens",
       "Listen without TLS on an address that other machines can reach. Everybody who reaches it "
       "may then file and cancel tickets and lease "
       "jobs, and jobs carry the text to forget: only for a network of its own."},
      {"reflection", &C::reflection, 0, 0, "Where it listens",
       "gRPC server reflection, for buf curl and grpcurl."},

      {"data_folder", &C::data_folder, 0, 0, "What it keeps",
       "Folder of tickets, jobs, reports and the audit log. One server at a time. Required."},
      {"model_folder", &C::model_folder, 0, 0, "What it keeps",
       "Folder of checkpoints that server, workers and verifiers share; empty: "
       "data_folder/models."},
      {"key_file", &C::key_file, 0, 0, "What it keeps",
       "File of the keys that wrap the keys of tickets; made when it is not there. Keep it away "
       "from backups of data_folder. "
       "Empty: data_folder with .key appended, beside it."},

      {"max_text_bytes", &C::max_text_bytes, 1, 16 * kMib, "What one request may ask",
       "Bytes of one text, prompt or answer."},
      {"max_target_tokens", &C::max_target_tokens, 2, 1'048'576, "What one request may ask",
       "Tokens of one target; the model's context length when that is smaller."},
      {"max_targets_per_ticket", &C::max_targets_per_ticket, 1, 100'000, "What one request may ask",
       "Targets of one ticket."},
      {"max_ticket_tokens", &C::max_ticket_tokens, 2, 16'777'216, "What one request may ask",
       "Tokens of one ticket."},
      {"max_tickets_per_batch", &C::max_tickets_per_batch, 1, 1'000, "What one request may ask",
       "Tickets of one BatchCreateTickets call."},
      {"max_message_bytes", &C::max_message_bytes, 64 * kKib, 1024 * kMib,
       "What one request may ask",
       "Bytes of one message; a larger one is refused with RESOURCE_EXHAUSTED before it is read."},

      {"max_calls_in_flight", &C::max_calls_in_flight, 1, 1'000'000, "What it holds at one time",
       "Calls that are being answered, long polls and watches apart; one more is refused with "
       "TOO_MANY_CALLS."},
      {"max_queued_commands", &C::max_queued_commands, 1, 1'000'000, "What it holds at one time",
       "Commands that wait for the disk; one more is refused with STORE_BUSY."},
      {"max_watchers", &C::max_watchers, 0, 1'000'000, "What it holds at one time",
       "Open WatchTicket and WatchPromotions calls."},
      {"max_polls", &C::max_polls, 1, 1'000'000, "What it holds at one time",
       "Open AcquireJob calls that wait."},
      {"max_waiting_tickets", &C::max_waiting_tickets, 1, 1e9, "What it holds at one time",
       "Tickets that wait for a worker; one more is refused with QUEUE_FULL."},
      {"max_audits", &C::max_audits, 0, 10'000, "What it holds at one time",
       "AuditCheckpoint calls that wait for a verifier or for its result; one more is refused with "
       "TOO_MANY_CALLS."},
      {"max_waiting_audits", &C::max_waiting_audits, 0, 10'000, "What it holds at one time",
       "Audits that wait for a verifier; one more is refused with QUEUE_FULL. 0: no audits."},

      {"lease_duration", &C::lease_duration, 0.1, kDay, "Work under a lease",
       "A job whose worker sends no heartbeat for so long is given to another."},
      {"heartbeat_interval", &C::heartbeat_interval, 0, kDay / 2, "Work under a lease",
       "How often workers are asked to send heartbeats; 0s: a third of the lease."},
      {"retry_base", &C::retry_base, 0, kDay, "Work under a lease",
       "Pause before a job is tried again after its infrastructure failed; doubles each time."},
      {"retry_cap", &C::retry_cap, 0, kDay, "Work under a lease", "Longest such pause."},
      {"worker_loss_limit", &C::worker_loss_limit, 1, 1'000, "Work under a lease",
       "A job that was lost with so many workers fails with WORKERS_LOST."},
      {"infrastructure_retry_limit", &C::infrastructure_retry_limit, 1, 1'000, "Work under a lease",
       "A job whose infrastructure (disk, memory, device, network) failed so often fails, and its "
       "tickets with INFRASTRUCTURE_FAILED: an operator mends the cause and retries them."},

      {"default_regulation", &C::default_regulation, 0, 0, "Tickets",
       "GDPR or CCPA: sets the deadline of tickets that name no law."},
      {"max_tickets_per_job", &C::max_tickets_per_job, 1, 10'000, "Tickets",
       "Most tickets of one job, for models whose policy does not say."},
      {"max_batch_wait", &C::max_batch_wait, 0, 30 * kDay, "Tickets",
       "How long the first waiting ticket may wait for company, for models whose policy does not "
       "say."},
      {"request_id_retention", &C::request_id_retention, 90 * kDay, 3'650 * kDay, "Tickets",
       "How long a request_id is remembered; at least the longest legal deadline."},

      {"maintenance_interval", &C::maintenance_interval, 0.01, 60, "How it runs",
       "How often lost leases, batching deadlines and old request ids are looked for."},
      {"drain_grace", &C::drain_grace, 0.1, 3'600, "How it runs",
       "After SIGTERM, how long calls in flight may take to end."},
      {"drain_delay", &C::drain_delay, 0, 600, "How it runs",
       "After SIGTERM, how long to report NOT_SERVING before refusing calls, so that load "
       "balancers notice."},
      {"background_threads", &C::background_threads, 1, 64, "How it runs",
       "Threads that read files and tokenise."},
      {"log_level", &C::log_level, 0, 0, "How it runs", "debug, info, warn, error or off."},
      {"log_file", &C::log_file, 0, 0, "How it runs",
       "Where the log goes, a JSON object a line; empty: standard error."},
  };
  return *options;
}

std::string FlagName(const ConfigOption& option) {
  return absl::StrCat("--", absl::StrReplaceAll(std::string(option.name), {{"_", "-"}}));
}

std::string EnvironmentName(const ConfigOption& option) {
  return absl::StrCat("LETHE_", absl::AsciiStrToUpper(std::string(option.name)));
}

std::string ValueText(const ConfigOption& option, const ServerConfig& config) {
  return std::visit(
      [&](auto field) -> std::string {
        const auto& value = config.*field;
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::string>)
          return value;
        else if constexpr (std::is_same_v<T, bool>)
          return value ? "true" : "false";
        else if constexpr (std::is_same_v<T, absl::Duration>)
          return value == absl::ZeroDuration() ? "0s" : absl::FormatDuration(value);
        else
          return std::to_string(value);
      },
      option.field);
}

}  // namespace lethe
