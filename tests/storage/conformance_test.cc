#include "tests/support/store_conformance.h"

namespace lethe::storage {
namespace {

std::unique_ptr<TicketStore> Memory(const std::filesystem::path&, const StoreOptions& options) {
  return OpenMemoryStore(options);
}

std::unique_ptr<TicketStore> Rocks(const std::filesystem::path& folder,
                                   const StoreOptions& options) {
  auto store = OpenRocksStore({.folder = folder}, options);
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

std::string NameOf(const testing::TestParamInfo<StoreMaker>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Drivers, StoreConformance,
                         testing::Values(StoreMaker{"memory", Memory},
                                         StoreMaker{"rocksdb", Rocks}),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Drivers, DurableConformance, testing::Values(StoreMaker{"rocksdb", Rocks}),
                         NameOf);

}  // namespace
}  // namespace lethe::storage
