#include "engine/cli/inputs.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "engine/checkpoint/ensemble_folder.h"
#include "text/tokenizer.h"

namespace lethe::cli {
namespace {

using Json = nlohmann::json;

absl::Status Refused(std::string_view reason, const std::string& message) {
  return Error(absl::StatusCode::kInvalidArgument, reason, message);
}

// Places are counted from 0, as a script would. What stands there is not shown: it may be what
// somebody asked to forget.
absl::Status NotAnId(const std::string& file, size_t list, size_t entry) {
  return Refused("LINE_MALFORMED",
                 file + ": entry " + std::to_string(entry) + " of list " + std::to_string(list) +
                     " is not a token id: a whole number from 0 to 2147483647 is wanted");
}

absl::StatusOr<std::vector<Sequence>> FromIdLists(const Json& lists, const std::string& file) {
  std::vector<Sequence> sequences;
  for (const Json& list : lists) {
    const size_t index = sequences.size();
    if (!list.is_array()) {
      return Refused("LINE_MALFORMED", file + ": element " + std::to_string(index) +
                                           " is not a list; a JSON list of lists of token ids is "
                                           "wanted, [[5, 8, 13], [2, 4]]");
    }
    Sequence& sequence = sequences.emplace_back();
    for (const Json& id : list) {
      // Unsigned is what the parser calls every whole number that is not negative.
      if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX) {
        return NotAnId(file, index, sequence.ids.size());
      }
      sequence.ids.push_back(id.get<int32_t>());
    }
  }
  return sequences;
}

// Where JSON stops being JSON.
class FirstError : public nlohmann::json_sax<Json> {
 public:
  size_t at_byte = 0;
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(int64_t) override { return true; }
  bool number_unsigned(uint64_t) override { return true; }
  bool number_float(double, const std::string&) override { return true; }
  bool string(std::string&) override { return true; }
  bool binary(Json::binary_t&) override { return true; }
  bool start_object(size_t) override { return true; }
  bool key(std::string&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(size_t at, const std::string&, const nlohmann::detail::exception&) override {
    at_byte = at;
    return false;
  }
};

absl::StatusOr<std::vector<Sequence>> ReadIdLists(const std::string& content,
                                                  const std::string& file) {
  FirstError error;
  if (!Json::sax_parse(content, &error)) {
    const std::string before = content.substr(0, error.at_byte);
    return Refused("LINE_MALFORMED",
                   file + ":" + std::to_string(1 + std::count(before.begin(), before.end(), '\n')) +
                       ": it is not JSON at byte " + std::to_string(error.at_byte));
  }
  return FromIdLists(Json::parse(content), file);
}

}  // namespace

absl::StatusOr<std::vector<Sequence>> ReadSet(const std::string& file,
                                              const std::filesystem::path& model_folder) {
  if (file.empty()) return std::vector<Sequence>{};
  LETHE_ASSIGN_OR_RETURN(const std::string content, ReadFile(file));
  const size_t first = content.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && content[first] == '[') {
    return ReadIdLists(content, file);
  }
  LETHE_ASSIGN_OR_RETURN(const ModelLimits model, ReadModelLimits(model_folder));
  const SequenceLimits limits{.vocab_size = static_cast<int32_t>(model.vocab_size),
                              .max_tokens = static_cast<int32_t>(model.context)};
  std::error_code error;
  if (!std::filesystem::exists(model_folder / "tokenizer.json", error)) {
    return LoadSequences(file, nullptr, limits);
  }
  LETHE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::Load(model_folder));
  return LoadSequences(file, &tokenizer, limits);
}

absl::StatusOr<std::map<std::string, double>> ReadParameters(
    const std::vector<std::string>& words) {
  std::map<std::string, double> values;
  for (const std::string& word : words) {
    const size_t at = word.find('=');
    char* end = nullptr;
    const double value = at == std::string::npos ? 0 : std::strtod(word.c_str() + at + 1, &end);
    if (end == nullptr || *end != '\0' || end == word.c_str() + at + 1) {
      return Refused("BAD_PARAMETER", "'" + word + "' is not NAME=NUMBER");
    }
    values[word.substr(0, at)] = value;
  }
  return values;
}

absl::StatusOr<std::vector<Teacher>> ReadTeachers(const std::vector<std::string>& words) {
  std::vector<Teacher> teachers;
  for (const std::string& word : words) {
    const size_t at = word.rfind('=');
    Teacher& teacher = teachers.emplace_back();
    teacher.folder = word.substr(0, at);
    for (size_t begin = at; begin < word.size();) {
      const size_t end = std::min(word.find(',', begin + 1), word.size());
      const std::string number = word.substr(begin + 1, end - begin - 1);
      if (number.empty() || number.size() > 9 ||
          number.find_first_not_of("0123456789") != std::string::npos) {
        return Refused("BAD_TEACHER",
                       "'" + word +
                           "' is not FOLDER or FOLDER=0,3,5: the numbers are places in "
                           "--forget, counted from 0");
      }
      teacher.saw.push_back(std::stoul(number));
      begin = end;
    }
  }
  return teachers;
}

std::string ThresholdsJson(const ModelThresholds& t) {
  nlohmann::ordered_json json = {{"ma", t.ma},
                                 {"nll_mean", t.nll_mean},
                                 {"nll_sd", t.nll_sd},
                                 {"span_nll_mean", t.span_nll_mean},
                                 {"span_nll_sd", t.span_nll_sd},
                                 {"span_ma", t.span_ma},
                                 {"sequences", t.sequences}};
  for (const auto& [n, el] : t.el) json["el"][std::to_string(n)] = el;
  return json.dump(2);
}

absl::StatusOr<ModelThresholds> ReadThresholds(const std::filesystem::path& file) {
  LETHE_ASSIGN_OR_RETURN(const std::string content, ReadFile(file));
  const Json json = Json::parse(content, nullptr, /*allow_exceptions=*/false);
  const auto number = [&](const char* name) {
    return json.contains(name) && json[name].is_number() ? json[name].get<double>() : -1.0;
  };
  if (!json.is_object() || number("ma") < 0 || number("nll_mean") <= 0 || number("sequences") < 1) {
    return Refused("BAD_THRESHOLDS", file.string() + " is not what `lethe-engine prepare` prints");
  }
  ModelThresholds t{.ma = number("ma"),
                    .nll_mean = number("nll_mean"),
                    .nll_sd = std::max(0.0, number("nll_sd")),
                    .span_nll_mean = std::max(0.0, number("span_nll_mean")),
                    .span_nll_sd = std::max(0.0, number("span_nll_sd")),
                    .span_ma = std::max(0.0, number("span_ma")),
                    .sequences = static_cast<int>(number("sequences"))};
  if (json.contains("el") && json["el"].is_object()) {
    for (const auto& [n, el] : json["el"].items()) {
      if (el.is_number()) t.el[std::atoi(n.c_str())] = el.get<double>();
    }
  }
  return t;
}

}  // namespace lethe::cli
