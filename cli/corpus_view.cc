#include "cli/corpus_view.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/estimate_view.h"
#include "cli/text_table.h"
#include "cli/ticket_view.h"

namespace lethe {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

// "3", "0 and 2", "0, 2 and 5".
template <typename List>
std::string ListText(const List& list) {
  if (list.size() < 2) return absl::StrJoin(list, "");
  return absl::StrCat(absl::StrJoin(list.begin(), list.end() - 1, ", "), " and ",
                      *(list.end() - 1));
}

std::string StateName(v1::TeacherState state) {
  return ShortName(v1::TeacherState_Name(state), "TEACHER_STATE_");
}

std::string FailureText(const v1::Corpus& corpus) {
  std::string text = absl::StrCat(", ", corpus.failure_reason());
  if (corpus.failure_line() == 0 || corpus.failure_source() >= corpus.source_paths_size()) {
    return text;
  }
  return absl::StrCat(text, ": ", corpus.source_paths(corpus.failure_source()), ":",
                      corpus.failure_line());
}

std::string SizeText(const v1::Corpus& corpus) {
  std::string text;
  if (corpus.sequences() > 0) {
    text = absl::StrCat(CountOf(corpus.sequences(), "sequence"), ", ", CountText(corpus.tokens()),
                        " tokens; ");
  }
  return absl::StrCat(text, CountOf(corpus.options().shards(), "shard"), " of ",
                      CountOf(corpus.options().slices(), "slice"),
                      corpus.options().document_parts() ? ", documents in parts" : "");
}

std::string RecipeText(const v1::TeacherOptions& teachers) {
  return absl::StrCat(CountOf(teachers.layers(), "layer"), " of ", teachers.hidden_size(),
                      ", context ", CountText(teachers.context_length()), "; ",
                      absl::StrFormat("%g", teachers.epochs()), " epochs, ",
                      CountText(teachers.batch_tokens()), " tokens a step, learning rate ",
                      absl::StrFormat("%g", teachers.learning_rate()), ", seed ", teachers.seed());
}

// "40 seconds", "20 to 50 seconds".
std::string RangeText(const v1::DurationRange& range) {
  const auto seconds = [](const google::protobuf::Duration& duration) {
    return static_cast<double>(duration.seconds()) + duration.nanos() * 1e-9;
  };
  return SpanText(seconds(range.low()), seconds(range.high()));
}

// How the model can be trained again.
std::string BaseText(const v1::BaseOptions& base) {
  return absl::StrCat("may be trained again: ", absl::StrFormat("%g", base.epochs()), " epochs, ",
                      CountText(base.batch_tokens()), " tokens a step, learning rate ",
                      absl::StrFormat("%g", base.learning_rate()), ", seed ", base.seed());
}

std::string OfShards(const v1::CorpusPreview& preview) {
  return preview.of_shards() > 0 ? absl::StrCat(" of ", preview.of_shards()) : "";
}

}  // namespace

std::string CorpusStateText(const v1::Corpus& corpus) {
  std::string text = ShortName(v1::CorpusState_Name(corpus.state()), "CORPUS_STATE_");
  if (corpus.state() == v1::CORPUS_STATE_FAILED) return text + FailureText(corpus);
  if (corpus.state() != v1::CORPUS_STATE_TRAINING) return text;
  const auto ready = std::count_if(
      corpus.shards().begin(), corpus.shards().end(),
      [](const v1::TeacherStatus& t) { return t.state() == v1::TEACHER_STATE_READY; });
  return absl::StrCat(text, ", ", ready, " of ", CountOf(corpus.shards_size(), "teacher"),
                      ready == 1 ? " is ready" : " are ready");
}

Fields CorpusFields(const v1::Corpus& corpus) {
  return {{"corpus", CorpusStateText(corpus)},
          {"read", corpus.has_progress() ? ProgressText(corpus.progress()) : ""},
          {"holds", SizeText(corpus)},
          {"teachers", RecipeText(corpus.teachers())},
          {"itself", corpus.has_base() ? BaseText(corpus.base()) : ""}};
}

void PrintTeachers(std::ostream& out, const v1::Corpus& corpus) {
  if (corpus.shards().empty()) return;
  TextTable table({"SHARD", "TEACHER", "JOB", "CHANGED", "PROGRESS"});
  for (const v1::TeacherStatus& teacher : corpus.shards()) {
    std::string state = StateName(teacher.state());
    if (!teacher.failure_reason().empty()) absl::StrAppend(&state, ", ", teacher.failure_reason());
    table.Add({absl::StrCat(teacher.shard()), state, teacher.job_id(),
               TimeText(teacher.update_time()),
               teacher.has_progress() ? ProgressText(teacher.progress()) : ""});
  }
  out << "\n";
  table.Print(out);
}

std::string PlaceText(const v1::CorpusTouch& touch) {
  return absl::StrCat(CountOf(touch.sequences(), "sequence"), " in shard",
                      touch.shards_size() == 1 ? " " : "s ", ListText(touch.shards()));
}

std::string TouchText(const v1::CorpusTouch& touch, v1::TicketState state) {
  switch (state) {
    case v1::TICKET_STATE_COMPLETED:
      return PlaceText(touch) + ": erased, and the teachers trained again without them";
    case v1::TICKET_STATE_ERASING:
      return PlaceText(touch) + ": being erased, and the teachers trained again without them";
    case v1::TICKET_STATE_CANCELLED:
    case v1::TICKET_STATE_DENIED:
      return PlaceText(touch);
    default:
      return PlaceText(touch) + ": erased once the model has forgotten";
  }
}

Fields PreviewFields(const v1::CorpusPreview& preview) {
  Fields fields;
  fields.emplace_back(
      "erases", absl::StrCat(CountOf(preview.sequences(), "sequence"), " in ",
                             preview.of_shards() > 0
                                 ? absl::StrCat(preview.shards_size(), OfShards(preview),
                                                preview.of_shards() == 1 ? " shard" : " shards")
                                 : CountOf(preview.shards_size(), "shard"),
                             " (", CountOf(preview.slices(), "slice"), ")"));
  fields.emplace_back(
      "retrains",
      absl::StrCat(CountOf(preview.retrain_tokens(), "token"),
                   preview.retrain_tokens() == 1 ? " is" : " are", " trained again, ",
                   preview.has_retrain() ? "about " + RangeText(preview.retrain())
                                         : "how long is not known: no teacher was trained yet"));
  fields.emplace_back("teachers",
                      absl::StrCat(preview.teachers_left(), OfShards(preview), " may teach"));
  if (preview.near_copies() > 0) {
    const bool one = preview.near_copies() == 1;
    fields.emplace_back("copies", absl::StrCat(CountOf(preview.near_copies(), "sequence"),
                                               " of other people ", one ? "shares" : "share",
                                               " much of the text and ", one ? "stays" : "stay"));
  }
  return fields;
}

}  // namespace lethe
