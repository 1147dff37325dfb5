#include "engine/attack/prefix_rollouts.h"

#include <algorithm>
#include <utility>

#include "engine/metric/span_score.h"
#include "engine/model/first_choice.h"
#include "engine/model/rollouts.h"

namespace lethe {
namespace {

constexpr int64_t kTailBytes = int64_t{256} << 20;  // keys and values of roll-outs

}  // namespace

// One roll-out.
struct PrefixRollouts::Line {
  size_t member, sequence;
  int32_t mistake, end;
  std::vector<int32_t> said = {};  // from the mistake on
};

PrefixRollouts::PrefixRollouts(const LanguageModel& model, std::span<const Sequence> sequences,
                               std::span<const PrefixPlace> places)
    : model_(model),
      sequences_(sequences),
      places_(sequences.size()),
      asked_(places),
      said_(sequences.size()) {
  for (const PrefixPlace& place : places) places_[place.sequence].push_back(place);
}

// Where what the model says after a prefix is no longer the text, or not known to be; `end`: never.
int32_t PrefixRollouts::MistakeOf(const PrefixPlace& place, const SequenceScore& score) const {
  const Sequence& sequence = sequences_[place.sequence];
  const int32_t first = FirstScored(sequence);
  int32_t at = place.after;
  while (at >= first && at < place.end && score.choice[at - first] == sequence.ids[at]) ++at;
  return at;
}

// Mistake -> the furthest end that is asked for behind it.
std::map<int32_t, int32_t> PrefixRollouts::MistakesOf(size_t sequence,
                                                      const SequenceScore& score) const {
  std::map<int32_t, int32_t> mistakes;
  for (const PrefixPlace& place : places_[sequence]) {
    const int32_t mistake = MistakeOf(place, score);
    if (mistake < place.end) mistakes[mistake] = std::max(mistakes[mistake], place.end);
  }
  return mistakes;
}

int32_t PrefixRollouts::Needed(size_t sequence, const SequenceScore& score) const {
  const std::map<int32_t, int32_t> mistakes = MistakesOf(sequence, score);
  return mistakes.empty() ? 0 : mistakes.rbegin()->first;
}

std::vector<int32_t> PrefixRollouts::TextOf(const Line& line) const {
  const std::vector<int32_t>& ids = sequences_[line.sequence].ids;
  std::vector<int32_t> text(ids.begin(), ids.begin() + line.mistake);
  text.insert(text.end(), line.said.begin(), line.said.end());
  return text;
}

// The first token of each: teacher forcing has chosen it, but for places in a prompt.
void PrefixRollouts::Begin(const at::Tensor& all, int64_t T, std::span<const SequenceScore> scores,
                           std::vector<Line>& lines) const {
  std::vector<Line*> open;
  std::vector<int64_t> rows;
  for (Line& line : lines) {
    const int32_t first = FirstScored(sequences_[line.sequence]);
    if (line.mistake >= first) {
      line.said.push_back(scores[line.sequence].choice[line.mistake - first]);
      continue;
    }
    open.push_back(&line);
    rows.push_back(static_cast<int64_t>(line.member) * T + line.mistake - 1);
  }
  if (open.empty()) return;
  const FirstChoices made =
      ChooseFirst(model_, RowsOf(all, rows), [&](int64_t n) { return TextOf(*open[n]); });
  for (size_t n = 0; n < open.size(); ++n) open[n]->said.push_back(made.tokens[n]);
}

void PrefixRollouts::Add(ModelCache& cache, const at::Tensor& all, int64_t T,
                         std::span<const size_t> members, std::span<const SequenceScore> scores) {
  std::vector<Line> lines;
  for (size_t b = 0; b < members.size(); ++b) {
    for (const auto& [mistake, end] : MistakesOf(members[b], scores[members[b]])) {
      lines.push_back({.member = b, .sequence = members[b], .mistake = mistake, .end = end});
    }
  }
  Begin(all, T, scores, lines);
  std::vector<RolloutStart> starts;
  for (const Line& line : lines) {
    starts.push_back({{.prefix = static_cast<int64_t>(line.member),
                       .length = line.mistake,
                       .room = line.end - line.mistake - 1},
                      line.said.front()});
  }
  RollOut(
      model_, cache, starts, kTailBytes, [&](size_t i) { return TextOf(lines[i]); },
      [&](size_t i, int32_t token) {
        lines[i].said.push_back(token);
        return true;
      });
  for (Line& line : lines) said_[line.sequence][line.mistake] = std::move(line.said);
}

Continuations PrefixRollouts::Take(std::span<const SequenceScore> scores) const {
  Continuations all;
  for (const auto& lines : said_) {
    for (const auto& [mistake, said] : lines) {
      all.forward_tokens += static_cast<int64_t>(said.size()) - 1;  // the last is not fed
    }
  }
  for (const PrefixPlace& place : asked_) {
    const std::vector<int32_t>& ids = sequences_[place.sequence].ids;
    const int32_t mistake = MistakeOf(place, scores[place.sequence]);
    std::vector<int32_t>& text =
        all.texts.emplace_back(ids.begin() + place.after, ids.begin() + mistake);
    if (mistake == place.end) continue;
    const std::vector<int32_t>& said = said_[place.sequence].at(mistake);
    text.insert(text.end(), said.begin(), said.begin() + (place.end - mistake));
  }
  return all;
}

}  // namespace lethe
