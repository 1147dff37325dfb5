#include "engine/checkpoint/checked_json.h"

#include <nlohmann/json.hpp>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace lethe {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxDepth = 64;

// Looks at the text before a tree is made of it.
class FormReader : public nlohmann::json_sax<Json> {
 public:
  std::string wrong;  // empty: nothing

  bool start_object(std::size_t) override {
    names_.emplace_back();
    return Deeper();
  }
  bool start_array(std::size_t) override {
    if (names_.empty() && depth_ == 0) return Refuse("it is not an object");
    return Deeper();
  }
  bool key(std::string& name) override {
    if (names_.back().insert(name).second) return true;
    return Refuse("a name comes twice in an object");
  }
  bool end_object() override {
    names_.pop_back();
    --depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool null() override { return Value(); }
  bool boolean(bool) override { return Value(); }
  bool number_integer(int64_t) override { return Value(); }
  bool number_unsigned(uint64_t) override { return Value(); }
  bool number_float(double, const std::string&) override { return Value(); }
  bool string(std::string&) override { return Value(); }
  bool binary(Json::binary_t&) override { return Refuse("it is not JSON"); }
  bool parse_error(std::size_t at, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Refuse(absl::StrCat("it is not JSON at byte ", at));
  }

 private:
  bool Deeper() { return ++depth_ <= kMaxDepth || Refuse("it is nested too deeply"); }
  bool Value() { return depth_ > 0 || Refuse("it is not an object"); }
  bool Refuse(std::string why) {
    wrong = std::move(why);
    return false;
  }

  size_t depth_ = 0;
  std::vector<std::unordered_set<std::string>> names_;  // of the objects that are open
};

}  // namespace

absl::StatusOr<Json> ParseJsonObject(std::string_view text, std::string_view what) {
  FormReader form;
  const bool whole = Json::sax_parse(text.begin(), text.end(), &form);
  if (!whole || !form.wrong.empty()) {
    return Error(absl::StatusCode::kInvalidArgument, "BAD_CHECKPOINT",
                 absl::StrCat(absl::string_view(what.data(), what.size()), ": ",
                              form.wrong.empty() ? "it is not JSON" : form.wrong));
  }
  return Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
}

}  // namespace lethe
