#include "engine/attack/resume.h"

#include <cstdio>
#include <cstdlib>
#include <system_error>

#include "base/digest.h"
#include "base/file.h"
#include "base/version.h"
#include "engine/ensemble.h"
#include "engine/model/model_folder.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

constexpr char kHead[] = "lethe audit piece 1\n";
constexpr size_t kMostBytes = size_t{64} << 20;
constexpr char kDetail[] = "detail ";

std::string Hexadecimal(double value) {
  char text[40];
  std::snprintf(text, sizeof(text), "%a", value);
  return text;
}

std::string LinesOf(const KeptFigures& figures) {
  std::string lines = kHead;
  for (const auto& [name, values] : figures.lists) {
    lines += "figures " + std::to_string(values.size()) + " ";
    for (const double value : values) lines += Hexadecimal(value) + " ";
    lines += name + "\n";
  }
  if (!figures.note.empty()) lines += "note " + figures.note + "\n";
  return lines;
}

// One word, and the blank behind it.
std::string_view TakeWord(std::string_view& rest) {
  const size_t end = std::min(rest.find(' '), rest.size());
  const std::string_view word = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return word;
}

std::optional<double> NumberOf(std::string_view word) {
  const std::string text(word);
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0') return std::nullopt;
  return value;
}

// What stands behind "figures ".
bool ReadList(std::string_view rest, KeptFigures& out) {
  const std::optional<double> count = NumberOf(TakeWord(rest));
  std::vector<double> values;
  for (double i = 0; count.has_value() && i < *count; ++i) {
    const std::optional<double> value = NumberOf(TakeWord(rest));
    if (!value.has_value()) return false;
    values.push_back(*value);
  }
  out.lists[std::string(rest)] = std::move(values);
  return count.has_value();
}

std::optional<KeptFigures> ReadLines(std::string_view lines) {
  KeptFigures figures;
  if (!lines.starts_with(kHead)) return std::nullopt;
  lines.remove_prefix(sizeof(kHead) - 1);
  while (!lines.empty()) {
    const size_t end = lines.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    std::string_view line = lines.substr(0, end);
    lines.remove_prefix(end + 1);
    const std::string_view word = TakeWord(line);
    if (word == "note") {
      figures.note = std::string(line);
    } else if (word != "figures" || !ReadList(line, figures)) {
      return std::nullopt;
    }
  }
  return figures;
}

std::string SumLine(const std::string& binding, const std::string& piece, std::string_view lines) {
  return "sha256 " + Sha256Hex(binding + "\n" + piece + "\n" + std::string(lines)) + "\n";
}

absl::StatusOr<std::string> DigestOf(const fs::path& folder, const std::string& known) {
  if (!known.empty()) return known;
  return ModelDigest(folder);
}

std::string PlanLines(const AttackRequest& request) {
  std::string lines;
  for (const AttackSpec& spec : request.plan) {
    lines += "attack " + spec.attack + "@" + spec.condition;
    for (const auto& [name, value] : spec.overrides) lines += " " + name + "=" + Hexadecimal(value);
    lines += "\n";
  }
  return lines;
}

}  // namespace

fs::path ResumeFolder::FileOf(const std::string& piece) const {
  return folder_ / (Sha256Hex(binding_ + "\n" + piece).substr(0, 32) + ".piece");
}

std::optional<KeptFigures> ResumeFolder::Find(const std::string& piece) const {
  if (folder_.empty()) return std::nullopt;
  const absl::StatusOr<std::string> content = ReadFile(FileOf(piece), kMostBytes);
  if (!content.ok()) return std::nullopt;
  const size_t sum = content->rfind("sha256 ");
  if (sum == std::string::npos) return std::nullopt;
  const std::string_view lines = std::string_view(*content).substr(0, sum);
  if (content->substr(sum) != SumLine(binding_, piece, lines)) return std::nullopt;
  return ReadLines(lines);
}

absl::Status ResumeFolder::Keep(const std::string& piece, const KeptFigures& figures) const {
  if (folder_.empty()) return absl::OkStatus();
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) return SystemError("cannot create", folder_, error.value());
  const std::string lines = LinesOf(figures);
  return WriteFileAtomically(FileOf(piece), lines + SumLine(binding_, piece, lines), 0600);
}

absl::StatusOr<std::string> BindingOf(const Audit& audit, Side side) {
  const AttackRequest& request = audit.request;
  if (request.resume_folder.empty()) return std::string();
  LETHE_ASSIGN_OR_RETURN(const std::string base,
                         DigestOf(request.base_folder, request.base_digest));
  std::string candidate;
  if (side == Side::kAfter) {
    LETHE_ASSIGN_OR_RETURN(candidate, DigestOf(request.candidate_folder, request.candidate_digest));
  }
  std::string lines = "lethe " + std::string(LetheVersion()) + " " + request.device.libtorch +
                      "\ndevice " + request.device.name.substr(0, request.device.name.find(':')) +
                      "\nbase " + base + "\ncandidate " + candidate + "\nseed " +
                      std::to_string(request.seed) + "\nbudget " +
                      std::to_string(request.max_forward_tokens) + "\n" + PlanLines(request);
  std::vector<std::span<const Sequence>> sets = {request.forgotten, request.control};
  for (const NamedText& text : request.texts) {
    lines += "text " + text.name + "\n";
    sets.emplace_back(text.sequences);
  }
  return Sha256Hex(lines + DataDigest(request.digest_key, sets));
}

KeptFigures KeptOf(const PartResult& part) {
  KeptFigures figures{.note = part.not_applicable};
  figures.lists["forgotten"] = part.forgotten;
  figures.lists["control"] = part.control;
  figures.lists["cost"] = {static_cast<double>(part.forward_tokens),
                           static_cast<double>(part.shared_tokens), part.seconds};
  for (const auto& [name, detail] : part.details) {
    figures.lists[kDetail + name + " forgotten"] = detail.forgotten;
    figures.lists[kDetail + name + " control"] = detail.control;
  }
  return figures;
}

std::optional<PartResult> PartOf(const KeptFigures& figures, const Aim& aim) {
  const auto list = [&](const std::string& name) -> const std::vector<double>& {
    static const std::vector<double> kNone;
    const auto found = figures.lists.find(name);
    return found == figures.lists.end() ? kNone : found->second;
  };
  PartResult part{.not_applicable = figures.note};
  if (!part.not_applicable.empty()) return part;
  part.forgotten = list("forgotten");
  part.control = list("control");
  const std::vector<double>& cost = list("cost");
  if (part.forgotten.size() != aim.forgotten.size() || part.control.size() != aim.control.size() ||
      cost.size() != 3) {
    return std::nullopt;
  }
  part.forward_tokens = static_cast<int64_t>(cost[0]);
  part.shared_tokens = static_cast<int64_t>(cost[1]);
  part.seconds = cost[2];
  const std::string tail = " forgotten";
  for (const auto& [name, values] : figures.lists) {
    if (!name.starts_with(kDetail) || !name.ends_with(tail)) continue;
    const std::string detail =
        name.substr(sizeof(kDetail) - 1, name.size() - sizeof(kDetail) + 1 - tail.size());
    part.details[detail] = {values, list(kDetail + detail + " control")};
  }
  return part;
}

}  // namespace lethe
