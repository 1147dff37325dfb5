#include "server/page_token.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "server/errors.h"

namespace lethe {
namespace {

constexpr size_t kSealHex = 32;  // 128 bits
constexpr size_t kMaxToken = 1024;

}  // namespace

std::string PageTokens::Seal(std::string_view filter, std::string_view position) const {
  std::string text(filter);
  text += '\0';
  text += position;
  return HmacSha256Hex(key_, text).substr(0, kSealHex);
}

std::string PageTokens::Make(std::string_view filter, std::string_view position) const {
  return absl::WebSafeBase64Escape(absl::StrCat(Seal(filter, position), std::string(position)));
}

absl::StatusOr<std::string> PageTokens::Read(std::string_view filter,
                                             std::string_view token) const {
  if (token.empty()) return std::string();
  std::string bytes;
  if (token.size() <= kMaxToken &&
      absl::WebSafeBase64Unescape(absl::string_view(token.data(), token.size()), &bytes) &&
      bytes.size() >= kSealHex) {
    const std::string position = bytes.substr(kSealHex);
    const std::string seal = Seal(filter, position);
    // The same time whatever differs.
    unsigned char difference = 0;
    for (size_t i = 0; i < kSealHex; ++i)
      difference |= static_cast<unsigned char>(seal[i] ^ bytes[i]);
    if (difference == 0) return position;
  }
  return FieldError("PAGE_TOKEN_INVALID", "page_token",
                    "not a token of this list with these filters; begin again without one");
}

absl::StatusOr<int> PageSize(int asked) {
  if (asked < 0) return FieldError("PAGE_SIZE_INVALID", "page_size", "must not be negative");
  return asked == 0 ? 50 : std::min(asked, 1000);
}

}  // namespace lethe
