// MemoryDriver: the contract in its plainest form: ordered maps, lists by looking at every record.
// For tests, and the model that the conformance suite and the randomised test hold RocksDB against.
// A write copies the maps (not the records) while a snapshot lives.
#ifndef LETHE_STORAGE_MEMORY_MEMORY_DRIVER_H_
#define LETHE_STORAGE_MEMORY_MEMORY_DRIVER_H_

#include <memory>

#include "storage/driver.h"

namespace lethe::storage {

std::unique_ptr<Driver> MakeMemoryDriver();

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_MEMORY_MEMORY_DRIVER_H_
