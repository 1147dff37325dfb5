// lethe-server: reads its configuration, runs the server, ends on SIGTERM or SIGINT.
#include <CLI/CLI.hpp>

#include <iostream>

int main() { return 0; }
