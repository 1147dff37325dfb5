#include "base/version.h"

namespace lethe {

const char* LetheVersion() { return LETHE_VERSION_TEXT; }

}  // namespace lethe
