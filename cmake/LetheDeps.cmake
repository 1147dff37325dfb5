# Packages of the machine (`./dev setup` installs them) and the folder of pinned third-party parts.
set(LETHE_DEPS "$ENV{LETHE_DEPS}" CACHE PATH "Folder of pinned third-party parts (./dev setup fills it)")
if(NOT LETHE_DEPS)
  set(LETHE_DEPS "${PROJECT_SOURCE_DIR}/.deps" CACHE PATH "" FORCE)
endif()

find_package(Threads REQUIRED)
find_package(Protobuf REQUIRED)            # module mode: Debian ships no config file for 3.21
find_package(gRPC CONFIG REQUIRED)
find_package(absl CONFIG REQUIRED)
find_package(RocksDB CONFIG REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(GTest CONFIG REQUIRED)
find_package(benchmark CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(spdlog CONFIG REQUIRED)
find_package(CLI11 CONFIG REQUIRED)
find_package(tomlplusplus CONFIG REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(jemalloc REQUIRED IMPORTED_TARGET jemalloc)
pkg_check_modules(nghttp2 REQUIRED IMPORTED_TARGET libnghttp2)  # bench
