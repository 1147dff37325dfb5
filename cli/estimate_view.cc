#include "cli/estimate_view.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/text_table.h"

namespace lethe {
namespace {

double Seconds(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) + duration.nanos() * 1e-9;
}

struct Unit {
  double seconds;
  const char* name;
};

// The unit in which a person would say it.
Unit UnitOf(double seconds) {
  if (seconds < 90) return {1, "second"};
  if (seconds < 90 * 60) return {60, "minute"};
  if (seconds < 48 * 3600) return {3600, "hour"};
  return {86400, "day"};
}

// Nobody wants "47 seconds" of an estimate: from 30 on in fives.
int64_t Rounded(double count) {
  if (count >= 30) return 5 * std::llround(count / 5);
  return std::max<int64_t>(1, std::llround(count));
}

std::string SpanOf(const v1::DurationRange& range) {
  return SpanText(Seconds(range.low()), Seconds(range.high()));
}
std::string TypicalOf(const v1::DurationRange& range) {
  return SpanText(Seconds(range.typical()), Seconds(range.typical()));
}

std::string StepsText(const v1::TicketEstimate& estimate) {
  const std::string from =
      estimate.past_runs() == 0 ? "as the preset takes them"
      : estimate.past_runs() == 1
          ? "as the model's last run took them"
          : absl::StrCat("as the model's last ", estimate.past_runs(), " runs took them");
  return absl::StrCat("about ", estimate.steps().typical(), " steps, ", from);
}

std::string RunText(const v1::TicketEstimate& estimate) {
  std::string text =
      absl::StrCat("about ", SpanOf(estimate.run()), " once a worker takes it, as a rule ",
                   TypicalOf(estimate.run()), ": ", TypicalOf(estimate.unlearn()), " to unlearn (",
                   StepsText(estimate), ") and ", TypicalOf(estimate.verify()), " to verify");
  if (estimate.tickets_together() > 1) {
    absl::StrAppend(&text, ", together with ",
                    CountOf(estimate.tickets_together() - 1, "other ticket"));
  }
  return text;
}

std::string WaitText(const v1::TicketPreview& preview) {
  const int64_t ahead = preview.tickets_ahead();
  const std::string tickets =
      absl::StrCat(CountText(ahead), ahead == 1 ? " ticket waits" : " tickets wait",
                   " for this model before it");
  const v1::DurationRange& wait = preview.estimate().wait();
  if (Seconds(wait.high()) < 1) return ahead == 0 ? "no: nothing is before it" : tickets;
  return absl::StrCat("about ", SpanOf(wait),
                      " first: ", ahead == 0 ? "the model is being worked on" : tickets);
}

std::string MemoryText(const v1::TicketEstimate& estimate) {
  std::string text =
      absl::StrCat("about ", BytesText(static_cast<double>(estimate.device_bytes())));
  if (estimate.worker_memory_bytes() > 0) {
    absl::StrAppend(&text, " of the ",
                    BytesText(static_cast<double>(estimate.worker_memory_bytes())),
                    " that the worker has which prepared the model");
  }
  return text;
}

}  // namespace

std::string SpanText(double low_seconds, double high_seconds) {
  const Unit low = UnitOf(low_seconds), high = UnitOf(high_seconds);
  const int64_t first = Rounded(low_seconds / low.seconds);
  const int64_t last = Rounded(high_seconds / high.seconds);
  if (low.seconds != high.seconds) {
    return absl::StrCat(CountOf(first, low.name), " to ", CountOf(last, high.name));
  }
  if (first == last) return CountOf(last, high.name);
  return absl::StrCat(first, " to ", CountOf(last, high.name));
}

std::string BytesText(double bytes) {
  if (bytes < 1e9) return absl::StrFormat("%.0f MB", bytes / 1e6);
  return absl::StrFormat(bytes < 1e10 ? "%.1f GB" : "%.0f GB", bytes / 1e9);
}

std::vector<std::pair<std::string, std::string>> EstimateFields(const v1::TicketPreview& preview) {
  std::vector<std::pair<std::string, std::string>> fields;
  if (preview.has_estimate()) {
    fields.emplace_back("takes", RunText(preview.estimate()));
    fields.emplace_back("waits", WaitText(preview));
    fields.emplace_back("memory", MemoryText(preview.estimate()));
  } else {
    fields.emplace_back("waits", absl::StrCat(preview.tickets_ahead(), " tickets ahead"));
  }
  for (const v1::PreviewNotice& notice : preview.notices()) {
    fields.emplace_back("note", notice.sentence());
  }
  return fields;
}

}  // namespace lethe
