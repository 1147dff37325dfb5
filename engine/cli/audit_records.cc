#include "engine/cli/audit_records.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/cli/output.h"
#include "text/tokenizer.h"

namespace lethe::cli {
namespace {

using Json = nlohmann::ordered_json;

// The judged extraction that got most of a record out of the candidate; null where none ran.
const AttackOutcome* Strongest(const AttackReport& report, size_t record) {
  const AttackOutcome* strongest = nullptr;
  for (const AttackOutcome& attack : report.attacks) {
    if (attack.family != AttackFamily::kExtraction || attack.report_only) continue;
    if (strongest == nullptr ||
        attack.forgotten.after[record] > strongest->forgotten.after[record]) {
      strongest = &attack;
    }
  }
  return strongest;
}

// Records as text, for who may see it.
class Words {
 public:
  static absl::StatusOr<Words> From(const std::filesystem::path& folder) {
    Words words;
    words.reveal_ = !folder.empty();
    if (!words.reveal_ || !std::filesystem::exists(folder / "tokenizer.json")) return words;
    LETHE_ASSIGN_OR_RETURN(words.tokenizer_, Tokenizer::Load(folder));
    return words;
  }
  bool reveal() const { return reveal_; }

  absl::StatusOr<std::string> Of(const Sequence& record) const {
    std::string out;
    size_t at = 0;
    for (const Span& span : record.sensitive) {
      const auto begin = static_cast<size_t>(span.begin), end = static_cast<size_t>(span.end);
      LETHE_ASSIGN_OR_RETURN(const std::string before, Part(record, at, begin));
      LETHE_ASSIGN_OR_RETURN(const std::string inside, Part(record, begin, end));
      absl::StrAppend(&out, before, "»", inside, "«");
      at = end;
    }
    LETHE_ASSIGN_OR_RETURN(const std::string rest, Part(record, at, record.ids.size()));
    absl::StrAppend(&out, rest);
    return out;
  }

 private:
  absl::StatusOr<std::string> Part(const Sequence& record, size_t begin, size_t end) const {
    const std::span<const int32_t> ids(record.ids.data() + begin, end - begin);
    if (tokenizer_.has_value()) return tokenizer_->Decode(ids, /*skip_special=*/false);
    return absl::StrJoin(ids, " ");
  }

  bool reveal_ = false;
  std::optional<Tokenizer> tokenizer_;
};

// On one line, and without what would steer a terminal.
std::string OneLine(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return text;
}

Json RecordJson(const AttackReport& report, size_t i, const Sequence& record) {
  Json line = {{"record", i},
               {"tokens", record.ids.size()},
               {"nll_before", report.forgotten_nll.before[i]},
               {"nll_after", report.forgotten_nll.after[i]}};
  if (const AttackOutcome* strongest = Strongest(report, i)) {
    line["strongest"] = NameOf(strongest->attack, strongest->condition);
    line["recovered_before"] = strongest->forgotten.before[i];
    line["recovered_after"] = strongest->forgotten.after[i];
  }
  return line;
}

std::vector<std::string> RecordRow(const AttackReport& report, size_t i, const Sequence& record) {
  std::vector<std::string> row = {std::to_string(i), std::to_string(record.ids.size()),
                                  Number(report.forgotten_nll.before[i]),
                                  Number(report.forgotten_nll.after[i])};
  const AttackOutcome* strongest = Strongest(report, i);
  if (strongest == nullptr) {
    row.insert(row.end(), 3, "");
  } else {
    row.push_back(Number(strongest->forgotten.before[i]));
    row.push_back(Number(strongest->forgotten.after[i]));
    row.push_back(NameOf(strongest->attack, strongest->condition));
  }
  return row;
}

}  // namespace

absl::Status PrintRecords(const AttackReport& report, std::span<const Sequence> forgotten,
                          const RecordOptions& options) {
  LETHE_ASSIGN_OR_RETURN(const Words words, Words::From(options.reveal_from));
  std::vector<std::vector<std::string>> rows = {
      {"record", "tokens", "NLL/token before", "after", "recovered before", "after", "most by"}};
  std::string texts;
  for (size_t i = 0; i < forgotten.size(); ++i) {
    Json line = RecordJson(report, i, forgotten[i]);
    if (words.reveal()) {
      LETHE_ASSIGN_OR_RETURN(const std::string text, words.Of(forgotten[i]));
      line["content"] = text;
      absl::StrAppend(&texts, "record ", i, ": ", OneLine(text), "\n");
    }
    if (options.json) PrintJson(line);
    rows.push_back(RecordRow(report, i, forgotten[i]));
  }
  if (options.json) return absl::OkStatus();
  Print("\n");
  PrintTable(rows);
  Print(texts);
  return absl::OkStatus();
}

}  // namespace lethe::cli
