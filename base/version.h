// The version of this build, as --version, metrics and run records show it.
#ifndef LETHE_BASE_VERSION_H_
#define LETHE_BASE_VERSION_H_

namespace lethe {

const char* LetheVersion();  // "0.1.0"

}  // namespace lethe

#endif  // LETHE_BASE_VERSION_H_
