// Structured logs: one JSON object a line, on standard error.
//
//   InitLogging({.process = "lethe-server", .level = "info"});
//   LogInfo("ticket accepted", {{"ticket", id.value}, {"model", model.value}, {"tokens", tokens}});
//   {"time":"2026-11-23T20:15:00.123Z","level":"info","process":"lethe-server",
//    "message":"ticket accepted","ticket":"t-…","model":"m","tokens":17}
//
// Rule       no personal data: log ids, counts, codes and reasons, never
//            text, token ids or a caller's free text.
// Threads    any thread may log; InitLogging is called once, from main.
#ifndef LETHE_BASE_LOG_H_
#define LETHE_BASE_LOG_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace lethe {

struct LogOptions {
  std::string process;         // shown in every line
  std::string level = "info";  // debug, info, warn, error, off
  std::string file;            // empty: standard error
};
void InitLogging(const LogOptions& options);

// A value of a log field: text, whole number, fraction or truth.
using LogValue = std::variant<std::string, int64_t, double, bool>;
struct LogField {
  std::string_view key;
  LogValue value;
  LogField(std::string_view k, std::string_view v) : key(k), value(std::string(v)) {}
  LogField(std::string_view k, const char* v) : key(k), value(std::string(v)) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(v) {}
  LogField(std::string_view k, bool v) : key(k), value(v) {}
  LogField(std::string_view k, double v) : key(k), value(v) {}
  template <typename Int>
  requires std::is_integral_v<Int> LogField(std::string_view k, Int v)
      : key(k), value(static_cast<int64_t>(v)) {}
};
using LogFields = std::initializer_list<LogField>;

void LogDebug(std::string_view message, LogFields fields = {});
void LogInfo(std::string_view message, LogFields fields = {});
void LogWarning(std::string_view message, LogFields fields = {});
void LogError(std::string_view message, LogFields fields = {});

}  // namespace lethe

#endif  // LETHE_BASE_LOG_H_
