// The version of this build, as --version, lethe_build_info and run records show it.
#ifndef LETHE_SERVER_VERSION_H_
#define LETHE_SERVER_VERSION_H_

namespace lethe {

inline constexpr char kLetheVersion[] = LETHE_VERSION;  // set by CMake from the project

}  // namespace lethe

#endif  // LETHE_SERVER_VERSION_H_
