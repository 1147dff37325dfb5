#include "bench/loo_sequential.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "engine/catalog.h"
#include "engine/model/model_folder.h"
#include "engine/seeded_generator.h"
#include "engine/unlearn/method_table.h"

namespace lethe::loo {
namespace {

constexpr int kLooks = 10;

// Places in corpus.forgotten.
std::vector<size_t> TicketsOf(const Corpus& corpus, size_t count, uint64_t seed) {
  std::vector<size_t> order(corpus.forgotten.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return corpus.texts[corpus.forgotten[a]].repeats > corpus.texts[corpus.forgotten[b]].repeats;
  });
  order.resize(std::min(count, order.size()));
  SeededGenerator(seed).Shuffle(order);
  return order;
}

class Tickets {
 public:
  Tickets(const MethodRow& row, const Setting& setting, const TicketOptions& options,
          const Decoder& model)
      : row_(row),
        setting_(setting),
        model_(model),
        batch_(static_cast<size_t>(options.batch)),
        order_(TicketsOf(setting.corpus, static_cast<size_t>(options.tickets), setting.seed)) {
    const MethodEntry* method = FindMethod(row.method);
    ParameterValues overrides = row.overrides;
    if (options.max_steps > 0) overrides["max_steps"] = static_cast<double>(options.max_steps);
    parameters_ =
        ResolveParameters(method->parameters, FindPreset(*method, row.preset)->values, overrides);
    needs_teachers_ = method->needs_teachers;
    for (const size_t place : order_) {
      people_.push_back(setting.corpus.texts[setting.corpus.forgotten[place]].sequence);
    }
  }

  absl::Status Run(const Take& take) {
    size_t looks = 0;
    LETHE_RETURN_IF_ERROR(Look(take));
    while (done_ < people_.size()) {
      LETHE_RETURN_IF_ERROR(Job());
      if (done_ * kLooks < (looks + 1) * people_.size()) continue;
      looks = done_ * kLooks / people_.size();
      LETHE_RETURN_IF_ERROR(Look(take));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Job() {
    const size_t end = std::min(done_ + batch_, people_.size());
    const std::vector<Sequence> forget = Range(done_, end);
    std::optional<TeacherSet> teachers;
    if (needs_teachers_) {
      LETHE_ASSIGN_OR_RETURN(
          teachers,
          TeacherSet::Open(TeachersOf(done_, end), setting_.models.base, forget, setting_.device));
    }
    const std::vector<at::Tensor> before = model_.Snapshot(model_.device());
    const absl::StatusOr<MethodOutcome> outcome =
        FindMethodFunction(row_.method)({.model = model_,
                                         .training = model_,
                                         .forget = forget,
                                         .retain = setting_.corpus.hold,
                                         .watch = setting_.corpus.watch,
                                         .thresholds = setting_.models.thresholds,
                                         .parameters = parameters_,
                                         .seed = setting_.seed + done_,
                                         .teachers = teachers.has_value() ? &*teachers : nullptr});
    done_ = end;
    ++ends_["jobs"];
    if (ErrorReason(outcome.status()) == "METHOD_DIVERGED") {
      model_.Restore(before);
      ++ends_["refused"];
      return absl::OkStatus();
    }
    LETHE_RETURN_IF_ERROR(outcome.status());
    ends_["steps"] += static_cast<double>(outcome->steps);
    const std::string& why = outcome->stop_reason;
    ++ends_[why == "max_steps" ? "at_max_steps" : why == "stalled" ? "stalled" : "ended_by_rule"];
    return absl::OkStatus();
  }

  std::vector<Sequence> Range(size_t begin, size_t end) const {
    return {people_.begin() + static_cast<int64_t>(begin),
            people_.begin() + static_cast<int64_t>(end)};
  }

  // What each saw, as places in the batch.
  std::vector<Teacher> TeachersOf(size_t begin, size_t end) const {
    std::vector<Teacher> teachers = setting_.models.teachers;
    for (size_t t = 0; t < teachers.size(); ++t) {
      teachers[t].saw.clear();
      for (size_t i = begin; i < end; ++i) {
        const size_t text = setting_.corpus.forgotten[order_[i]];
        if (setting_.corpus.texts[text].shard == t) teachers[t].saw.push_back(i - begin);
      }
    }
    return teachers;
  }

  absl::Status AddExtraction(const std::string& name, size_t begin, size_t end, Figures& figures) {
    if (begin == end) return absl::OkStatus();
    LETHE_ASSIGN_OR_RETURN(const Extracted out, setting_.probe.Extract(model_, Range(begin, end)));
    const auto count = static_cast<double>(end - begin);
    figures[name + "_beam"] = std::accumulate(out.beam.begin(), out.beam.end(), 0.0) / count;
    figures[name + "_drawn"] = std::accumulate(out.drawn.begin(), out.drawn.end(), 0.0) / count;
    figures[name + "_chance"] = std::accumulate(out.chance.begin(), out.chance.end(), 0.0) / count;
    return absl::OkStatus();
  }

  absl::Status Look(const Take& take) {
    LETHE_ASSIGN_OR_RETURN(Figures figures, setting_.probe.Utility(model_));
    LETHE_RETURN_IF_ERROR(AddExtraction("done", 0, done_, figures));
    LETHE_RETURN_IF_ERROR(AddExtraction("coming", done_, people_.size(), figures));
    for (const char* name :
         {"jobs", "steps", "ended_by_rule", "at_max_steps", "stalled", "refused"}) {
      figures[name] = ends_[name];
    }
    take(static_cast<int64_t>(done_), std::move(figures));
    return absl::OkStatus();
  }

  const MethodRow& row_;
  const Setting& setting_;
  const Decoder& model_;
  const size_t batch_;
  const std::vector<size_t> order_;
  ParameterValues parameters_;
  bool needs_teachers_ = false;
  std::vector<Sequence> people_;
  size_t done_ = 0;
  Figures ends_;
};

}  // namespace

std::string TicketRun(const std::string& method, int batch) {
  return method + "/" + std::to_string(batch);
}

absl::Status RunTickets(const MethodRow& row, const Setting& setting, const TicketOptions& options,
                        const Take& take) {
  LETHE_ASSIGN_OR_RETURN(const ModelFolder loaded,
                         ModelFolder::Load(setting.models.base, setting.device));
  return Tickets(row, setting, options, loaded.model).Run(take);
}

}  // namespace lethe::loo
