// Configuration of lethe-server: one TOML file, the environment and flags, checked as a whole
// before anything starts.
//
//   absl::StatusOr<LoadedConfig> loaded =
//       LoadConfig({{"data_folder", "/var/lib/lethe"}}, environ_map);
//
// Order      flag over environment (LETHE_<NAME>) over file over default. ConfigOptions() is the
//            one table of all options; the file's keys, the flags, --help, --print-config and
//            docs/config.md are made from it.
// Errors     INVALID_ARGUMENT/CONFIG_INVALID: unknown keys (with the nearest known
//            one), values that do not parse, values out of range, combinations that
//            make no sense; all of them at once.
// Threads    values.
#ifndef LETHE_SERVER_CONFIG_H_
#define LETHE_SERVER_CONFIG_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace lethe {

// Every option by name; ConfigOptions() says what each means.
struct ServerConfig {
  // Where it listens.
  std::string listen_address = "127.0.0.1:7700";
  std::string metrics_address = "127.0.0.1:7701";
  std::string port_file;
  bool allow_insecure = false;
  bool reflection = true;
  // What it keeps.
  std::string data_folder;
  std::string model_folder;
  std::string key_file;
  // What one request may ask.
  int64_t max_text_bytes = 65'536;
  int64_t max_target_tokens = 2'048;
  int64_t max_targets_per_ticket = 100;
  int64_t max_ticket_tokens = 65'536;
  int64_t max_tickets_per_batch = 1'000;
  int64_t max_message_bytes = 16 << 20;
  // What it holds at one time.
  int64_t max_calls_in_flight = 2'048;
  int64_t max_queued_commands = 8'192;
  int64_t max_watchers = 1'024;
  int64_t max_polls = 1'024;
  int64_t max_waiting_tickets = 1'000'000;
  int64_t max_audits = 16;
  int64_t max_waiting_audits = 8;
  // Work under a lease.
  absl::Duration lease_duration = absl::Seconds(60);
  absl::Duration heartbeat_interval = absl::ZeroDuration();
  absl::Duration retry_base = absl::Seconds(5);
  absl::Duration retry_cap = absl::Minutes(5);
  int64_t worker_loss_limit = 5;
  int64_t infrastructure_retry_limit = 10;
  // Tickets.
  std::string default_regulation = "GDPR";
  int64_t max_tickets_per_job = 32;
  absl::Duration max_batch_wait = absl::ZeroDuration();
  absl::Duration request_id_retention = absl::Hours(180 * 24);
  // How it runs.
  absl::Duration maintenance_interval = absl::Seconds(1);
  absl::Duration drain_grace = absl::Seconds(10);
  absl::Duration drain_delay = absl::ZeroDuration();
  int64_t background_threads = 2;
  std::string log_level = "info";
  std::string log_file;

  // A third of the lease unless set.
  absl::Duration HeartbeatInterval() const {
    return heartbeat_interval > absl::ZeroDuration() ? heartbeat_interval : lease_duration / 3;
  }
};

// A row of the table.
struct ConfigOption {
  using Field = std::variant<std::string ServerConfig::*, int64_t ServerConfig::*,
                             bool ServerConfig::*, absl::Duration ServerConfig::*>;
  // Key in the file; --with-dashes as a flag; LETHE_WITH_UNDERSCORES in the environment.
  std::string_view name;
  Field field;
  double low = 0;   // smallest number, or seconds for a duration
  double high = 0;  // largest
  std::string_view section;
  std::string_view help;
};

const std::vector<ConfigOption>& ConfigOptions();
std::string FlagName(const ConfigOption& option);         // "--listen-address"
std::string EnvironmentName(const ConfigOption& option);  // "LETHE_LISTEN_ADDRESS"
std::string ValueText(const ConfigOption& option, const ServerConfig& config);

using ConfigValues = std::map<std::string, std::string>;

struct LoadedConfig {
  ServerConfig config;
  ConfigValues sources;  // option -> "default", "file PATH", "environment LETHE_X" or "flag --x"
};

// `flags` by option name; "config" names the file, else LETHE_CONFIG does.
absl::StatusOr<LoadedConfig> LoadConfig(const ConfigValues& flags, const ConfigValues& environment);

// Every mistake of a configuration, in the order of the table; empty when there is none.
std::vector<std::string> ConfigMistakes(const ServerConfig& config);

// True for 127.0.0.0/8, [::1], localhost and unix sockets.
bool IsLoopback(std::string_view address);

// The configuration as a TOML file, each value with where it came from.
std::string PrintConfig(const LoadedConfig& loaded);

// docs/config.md.
std::string ConfigDocs();

}  // namespace lethe

#endif  // LETHE_SERVER_CONFIG_H_
