// Page tokens that callers cannot forge and cannot carry from one list to another.
//
//   std::string token = tokens.Make(FilterOf(request), last_key);
//   LETHE_ASSIGN_OR_RETURN(std::string last_key,
//                          tokens.Read(FilterOf(request), request.page_token()));
//
// Format     base64url( 32 hex digits of HMAC-SHA-256(key, filter 0x00 position), position ).
// Errors     INVALID_ARGUMENT/PAGE_TOKEN_INVALID for anything that is not
//            ours, or that was made for another filter.
// Threads    any.
#ifndef LETHE_SERVER_PAGE_TOKEN_H_
#define LETHE_SERVER_PAGE_TOKEN_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace lethe {

class PageTokens {
 public:
  explicit PageTokens(std::string key) : key_(std::move(key)) {}

  std::string Make(std::string_view filter, std::string_view position) const;
  // "" for an empty token: the first page.
  absl::StatusOr<std::string> Read(std::string_view filter, std::string_view token) const;

 private:
  std::string Seal(std::string_view filter, std::string_view position) const;
  const std::string key_;
};

// The page size that is meant: 0 is 50, more than 1,000 is 1,000.
// INVALID_ARGUMENT/PAGE_SIZE_INVALID below 0.
absl::StatusOr<int> PageSize(int asked);

}  // namespace lethe

#endif  // LETHE_SERVER_PAGE_TOKEN_H_
