// RocksDB's own warnings, in the process' log.
//
//   options.info_log = MakeRocksLog();
//
// Why        by itself RocksDB writes them to a file LOG beside the data. On a full disk that write
//            fails too, and a library built with assertions (Debian's is) ends the process at the
//            next line: the server would die where it is to refuse writes and go on reading.
// Privacy    its warnings name files, sizes and causes. Below a warning nothing is taken: dumps of
//            options, events.
// Threads    any.
#ifndef LETHE_STORAGE_ROCKSDB_ROCKS_LOG_H_
#define LETHE_STORAGE_ROCKSDB_ROCKS_LOG_H_

#include <rocksdb/env.h>

#include <memory>

namespace lethe::storage {

std::shared_ptr<rocksdb::Logger> MakeRocksLog();

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_ROCKSDB_ROCKS_LOG_H_
