#include "engine/unlearn/method_table.h"

namespace lethe {
namespace {

struct Row {
  std::string_view name;
  MethodFunction function;
};

constexpr Row kTable[] = {
    {"gradient_ascent", GradientAscent},
    {"leave_one_out", LeaveOneOut},
};

}  // namespace

MethodFunction FindMethodFunction(std::string_view name) {
  for (const Row& row : kTable) {
    if (row.name == name) return row.function;
  }
  return nullptr;
}

}  // namespace lethe
