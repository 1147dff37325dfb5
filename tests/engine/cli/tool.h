// Runs `lethe-engine` as a script does.
#ifndef LETHE_TESTS_ENGINE_CLI_TOOL_H_
#define LETHE_TESTS_ENGINE_CLI_TOOL_H_

#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace lethe {

struct Ran {
  int code = -1;
  std::string out;
};

// What a shell makes of `lethe-engine ARGUMENTS`; `out` is standard output unless they say "2>&1".
inline Ran RunTool(const std::string& arguments) {
  const std::string command = std::string(LETHE_ENGINE_BINARY) + " " + arguments;
  Ran ran;
  FILE* pipe = popen(command.c_str(), "r");
  std::array<char, 4096> buffer;
  while (const size_t n = fread(buffer.data(), 1, buffer.size(), pipe)) {
    ran.out.append(buffer.data(), n);
  }
  ran.code = WEXITSTATUS(pclose(pipe));
  return ran;
}

// One JSON value a line; throws what the parser throws on any other line.
inline std::vector<nlohmann::ordered_json> Lines(const std::string& text) {
  std::vector<nlohmann::ordered_json> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(nlohmann::ordered_json::parse(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return lines;
}

}  // namespace lethe

#endif  // LETHE_TESTS_ENGINE_CLI_TOOL_H_
