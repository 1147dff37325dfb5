// Where the command line reads and writes: passed in, so that tests run whole commands in their
// own process.
#ifndef LETHE_CLI_IO_H_
#define LETHE_CLI_IO_H_

#include <iostream>
#include <string>

#include "base/clock.h"
#include "base/random.h"
#include "client/stop.h"

namespace lethe {

struct CliIo {
  std::istream* in = &std::cin;
  std::ostream* out = &std::cout;  // results; descriptor_buffer.h can say why they were not taken
  std::ostream* err = &std::cerr;  // errors, hints, progress
  bool terminal = false;           // err is a terminal: progress is drawn in place
  bool colour = false;             // out is a terminal
  Clock* clock = SystemClock();
  Random* random = SecureRandom();
  Stop* stop = nullptr;        // Ctrl-C
  std::string program_folder;  // of this binary and its siblings
};

}  // namespace lethe

#endif  // LETHE_CLI_IO_H_
