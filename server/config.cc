#include "server/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"

namespace lethe {
namespace {

// Sets one field from text; says what is wrong, or nothing.
std::string SetFromText(const ConfigOption& option, const std::string& text, ServerConfig& config) {
  return std::visit(
      [&](auto field) -> std::string {
        auto& value = config.*field;
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::string>) {
          value = text;
        } else if constexpr (std::is_same_v<T, bool>) {
          if (text != "true" && text != "false")
            return absl::StrCat("\"", text, "\" is neither true nor false");
          value = text == "true";
        } else if constexpr (std::is_same_v<T, absl::Duration>) {
          absl::Duration parsed;
          if (!absl::ParseDuration(text, &parsed)) {
            return absl::StrCat("\"", text, "\" is no duration; write 30s, 5m or 1h30m");
          }
          value = parsed;
        } else {
          int64_t parsed = 0;
          if (!absl::SimpleAtoi(text, &parsed))
            return absl::StrCat("\"", text, "\" is no whole number");
          value = parsed;
        }
        return {};
      },
      option.field);
}

// The fewest insertions, deletions and changes between two short names.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string UnknownKey(std::string_view key) {
  const ConfigOption* nearest = nullptr;
  size_t best = 5;
  for (const ConfigOption& option : ConfigOptions()) {
    const size_t distance = EditDistance(key, option.name);
    if (distance < best) best = distance, nearest = &option;
  }
  return nearest ? absl::StrCat("no such option; did you mean ", std::string(nearest->name), "?")
                 : "no such option";
}

const ConfigOption* FindOption(std::string_view name) {
  for (const ConfigOption& option : ConfigOptions()) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

// Reads the file into text values; the type of each is checked against its option.
void ReadConfigFile(const std::string& path, ConfigValues& values,
                    std::vector<std::string>& mistakes) {
  absl::StatusOr<std::string> text = ReadFile(path, 1 << 20);
  if (!text.ok()) {
    mistakes.push_back(absl::StrCat(path, ": ", text.status().message()));
    return;
  }
  try {
    const toml::table table = toml::parse(*text, path);
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      const std::string where = absl::StrCat(path, ":", node.source().begin.line, ": ", name, ": ");
      const ConfigOption* option = FindOption(name);
      if (option == nullptr) {
        mistakes.push_back(absl::StrCat(where, UnknownKey(name)));
        continue;
      }
      const bool wants_bool = std::holds_alternative<bool ServerConfig::*>(option->field);
      const bool wants_number = std::holds_alternative<int64_t ServerConfig::*>(option->field);
      if (wants_bool && node.is_boolean()) {
        values[name] = node.value<bool>().value() ? "true" : "false";
      } else if (wants_number && node.is_integer()) {
        values[name] = std::to_string(node.value<int64_t>().value());
      } else if (!wants_bool && !wants_number && node.is_string()) {
        values[name] = node.value<std::string>().value();
      } else {
        mistakes.push_back(absl::StrCat(where, "wants ",
                                        wants_bool     ? "true or false"
                                        : wants_number ? "a whole number"
                                                       : "text in quotes"));
      }
    }
  } catch (const toml::parse_error& error) {
    mistakes.push_back(
        absl::StrCat(path, ":", error.source().begin.line, ": ", std::string(error.description())));
  }
}

void CheckRange(const ConfigOption& option, const ServerConfig& config,
                std::vector<std::string>& mistakes) {
  double value = 0;
  std::string low, high;
  if (const auto* number = std::get_if<int64_t ServerConfig::*>(&option.field)) {
    value = static_cast<double>(config.*(*number));
    low = absl::StrCat(static_cast<int64_t>(option.low)),
    high = absl::StrCat(static_cast<int64_t>(option.high));
  } else if (const auto* span = std::get_if<absl::Duration ServerConfig::*>(&option.field)) {
    value = absl::ToDoubleSeconds(config.*(*span));
    low = absl::FormatDuration(absl::Seconds(option.low)),
    high = absl::FormatDuration(absl::Seconds(option.high));
  } else {
    return;
  }
  if (value < option.low || value > option.high) {
    mistakes.push_back(absl::StrCat(std::string(option.name), ": ", ValueText(option, config),
                                    " is outside ", low, " to ", high));
  }
}

bool HasPort(std::string_view address) {
  if (address.substr(0, 5) == "unix:") return address.size() > 5;
  const size_t colon = address.rfind(':');
  uint32_t port = 0;
  return colon != std::string_view::npos && colon > 0 &&
         absl::SimpleAtoi(absl::string_view(address.data() + colon + 1, address.size() - colon - 1),
                          &port) &&
         port <= 65'535;
}

}  // namespace

bool IsLoopback(std::string_view address) {
  if (address.substr(0, 5) == "unix:") return true;
  const std::string_view host = address.substr(0, address.rfind(':'));
  if (host == "localhost" || host == "[::1]") return true;
  // Exactly four numbers, so that a host name such as 127.example.com is not taken for an address.
  const std::vector<std::string> parts = absl::StrSplit(std::string(host), '.');
  if (parts.size() != 4 || parts[0] != "127") return false;
  return std::all_of(parts.begin(), parts.end(), [](const std::string& part) {
    uint32_t number = 0;
    return absl::SimpleAtoi(part, &number) && number <= 255;
  });
}

std::vector<std::string> ConfigMistakes(const ServerConfig& config) {
  std::vector<std::string> mistakes;
  for (const ConfigOption& option : ConfigOptions()) CheckRange(option, config, mistakes);
  const auto want = [&](bool holds, std::string message) {
    if (!holds) mistakes.push_back(std::move(message));
  };
  want(!config.data_folder.empty(),
       "data_folder: required; give a folder for tickets, jobs and the audit log");
  want(HasPort(config.listen_address),
       "listen_address: wants HOST:PORT, [IPV6]:PORT or unix:/path");
  want(config.metrics_address.empty() || HasPort(config.metrics_address),
       "metrics_address: wants HOST:PORT, or none");
  want(
      config.allow_insecure || !HasPort(config.listen_address) || IsLoopback(config.listen_address),
      absl::StrCat("listen_address: ", config.listen_address,
                   " can be reached from other machines, and this server speaks without TLS: "
                   "whoever reaches it could file and cancel "
                   "tickets and read the text to forget. Listen on 127.0.0.1, or set "
                   "allow_insecure = true on a network of its own"));
  want(config.heartbeat_interval <= config.lease_duration / 2,
       "heartbeat_interval: must be at most half of lease_duration, so that one lost heartbeat "
       "loses no lease");
  want(config.retry_base <= config.retry_cap, "retry_base: must be at most retry_cap");
  want(config.max_target_tokens <= config.max_ticket_tokens,
       "max_target_tokens: must be at most max_ticket_tokens");
  want(config.max_text_bytes < config.max_message_bytes,
       "max_text_bytes: must be below max_message_bytes");
  want(config.default_regulation == "GDPR" || config.default_regulation == "CCPA",
       "default_regulation: GDPR or CCPA");
  const std::vector<std::string> levels = {"debug", "info", "warn", "error", "off"};
  want(std::count(levels.begin(), levels.end(), config.log_level) == 1,
       "log_level: debug, info, warn, error or off");
  return mistakes;
}

absl::StatusOr<LoadedConfig> LoadConfig(const ConfigValues& flags,
                                        const ConfigValues& environment) {
  LoadedConfig loaded;
  std::vector<std::string> mistakes;
  const auto find = [](const ConfigValues& values, const std::string& key) -> const std::string* {
    const auto it = values.find(key);
    return it == values.end() ? nullptr : &it->second;
  };

  const std::string* path = find(flags, "config");
  if (path == nullptr) path = find(environment, "LETHE_CONFIG");
  ConfigValues file;
  if (path != nullptr && !path->empty()) ReadConfigFile(*path, file, mistakes);

  for (const auto& [name, value] : flags) {
    if (name != "config" && FindOption(name) == nullptr)
      mistakes.push_back(absl::StrCat("--", name, ": ", UnknownKey(name)));
  }
  for (const ConfigOption& option : ConfigOptions()) {
    const std::string name(option.name);
    std::string source = "default";
    const std::string* text = find(flags, name);
    if (text != nullptr) {
      source = absl::StrCat("flag ", FlagName(option));
    } else if ((text = find(environment, EnvironmentName(option))) != nullptr) {
      source = absl::StrCat("environment ", EnvironmentName(option));
    } else if ((text = find(file, name)) != nullptr) {
      source = absl::StrCat("file ", *path);
    }
    if (text != nullptr) {
      const std::string mistake = SetFromText(option, *text, loaded.config);
      if (!mistake.empty()) mistakes.push_back(absl::StrCat(name, " (", source, "): ", mistake));
    }
    loaded.sources[name] = source;
  }
  ServerConfig& config = loaded.config;
  if (config.metrics_address == "none") config.metrics_address.clear();
  if (!config.data_folder.empty()) {
    std::string bare = config.data_folder;
    while (bare.size() > 1 && bare.back() == '/') bare.pop_back();
    if (config.model_folder.empty()) config.model_folder = absl::StrCat(bare, "/models");
    if (config.key_file.empty()) config.key_file = absl::StrCat(bare, ".key");
  }
  for (std::string& mistake : ConfigMistakes(config)) mistakes.push_back(std::move(mistake));
  if (!mistakes.empty()) {
    return Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                 absl::StrJoin(mistakes, "\n"));
  }
  return loaded;
}

std::string PrintConfig(const LoadedConfig& loaded) {
  std::ostringstream out;
  std::string_view section;
  for (const ConfigOption& option : ConfigOptions()) {
    if (option.section != section)
      out << (section.empty() ? "" : "\n") << "# " << (section = option.section) << "\n";
    const std::string text = ValueText(option, loaded.config);
    const bool bare = std::holds_alternative<int64_t ServerConfig::*>(option.field) ||
                      std::holds_alternative<bool ServerConfig::*>(option.field);
    out << option.name << " = ";
    if (bare)
      out << text;
    else
      out << toml::node_view<const toml::node>(toml::value<std::string>(text));
    const auto source = loaded.sources.find(std::string(option.name));
    out << "  # " << (source == loaded.sources.end() ? "default" : source->second) << "\n";
  }
  return out.str();
}

std::string ConfigDocs() {
  std::ostringstream out;
  out << "# Configuration of lethe-server\n\n"
         "Made by `lethe-server --print-config-docs`; do not edit.\n\n"
         "Options come from a TOML file (`--config FILE`, or `LETHE_CONFIG`), from the environment "
         "and from flags; a flag wins over the\n"
         "environment, the environment over the file. `max_text_bytes` is `LETHE_MAX_TEXT_BYTES` "
         "in the environment and `--max-text-bytes` as a\n"
         "flag. `--print-config` shows what is in force and where each value came from. Everything "
         "is checked before the server starts, and all\n"
         "mistakes are shown at once; an unknown key is a mistake.\n\n"
         "Durations are text such as `30s`, `5m` or `1h30m`.\n";
  std::string_view section;
  for (const ConfigOption& option : ConfigOptions()) {
    if (option.section != section) {
      section = option.section;
      out << "\n## " << section
          << "\n\n| option | default | from | to | meaning |\n| --- | --- | --- | --- | --- |\n";
    }
    std::string low, high;
    if (std::holds_alternative<int64_t ServerConfig::*>(option.field)) {
      low = std::to_string(static_cast<int64_t>(option.low)),
      high = std::to_string(static_cast<int64_t>(option.high));
    } else if (std::holds_alternative<absl::Duration ServerConfig::*>(option.field)) {
      low = option.low == 0 ? "0s" : absl::FormatDuration(absl::Seconds(option.low)),
      high = absl::FormatDuration(absl::Seconds(option.high));
    }
    const std::string value = ValueText(option, ServerConfig());
    out << "| `" << option.name << "` | " << (value.empty() ? "" : absl::StrCat("`", value, "`"))
        << " | " << low << " | " << high << " | " << option.help << " |\n";
  }
  return out.str();
}

}  // namespace lethe
