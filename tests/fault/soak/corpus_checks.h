// What must hold of a model's corpus and its teachers at the end of a soak: who was forgotten is
// gone, nobody else is, and the teachers are those of a training without any fault.
//
//   for (const std::string& wrong : CheckCorpusEnd({...}, world, ledger, &gone)) ...
//
// Threads    free functions; no server may run on the folders.
#ifndef LETHE_TESTS_FAULT_SOAK_CORPUS_CHECKS_H_
#define LETHE_TESTS_FAULT_SOAK_CORPUS_CHECKS_H_

#include <filesystem>
#include <string>

#include "tests/fault/soak/checks.h"
#include "tests/fault/soak/world.h"

namespace lethe::soak {

struct CorpusPlaces {
  std::filesystem::path store, models, key_file, programs, scratch;
  std::string model;
};

// `erased` gets the number of people whom the corpus has no more.
Problems CheckCorpusEnd(const CorpusPlaces& places, const World& world, const Ledger& ledger,
                        int* erased);

}  // namespace lethe::soak

#endif  // LETHE_TESTS_FAULT_SOAK_CORPUS_CHECKS_H_
