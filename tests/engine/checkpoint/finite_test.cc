// NaN and infinity against what <cmath> calls them, at every place of a block, in every type.
#include "engine/checkpoint/finite.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "base/status.h"
#include "engine/checkpoint/decoder_tensors.h"
#include "tests/support/seeded_random.h"
#include "tests/support/testdata.h"

namespace lethe {
namespace {
namespace fs = std::filesystem;

template <typename Word>
std::string BytesOf(const std::vector<Word>& words) {
  return std::string(reinterpret_cast<const char*>(words.data()), words.size() * sizeof(Word));
}

// IEEE half by its definition: sign, 5 bits of exponent, 10 of fraction.
bool HalfIsFinite(uint16_t bits) { return (bits >> 10 & 31) != 31; }
// A bfloat16 is the upper half of a float.
bool BFloatIsFinite(uint16_t bits) {
  return std::isfinite(std::bit_cast<float>(static_cast<uint32_t>(bits) << 16));
}

TEST(Finite, EveryValueOfTheShortTypes) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const std::string bytes = BytesOf<uint16_t>({static_cast<uint16_t>(bits)});
    ASSERT_EQ(!FirstNotFinite(DType::kF16, bytes).has_value(), HalfIsFinite(bits)) << bits;
    ASSERT_EQ(!FirstNotFinite(DType::kBF16, bytes).has_value(), BFloatIsFinite(bits)) << bits;
  }
}

TEST(Finite, RandomValuesOfTheLongTypes) {
  const uint64_t seed = TestSeed(31);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 200'000; ++i) {
    const uint64_t high = i % 3 == 0 ? random() | 0x7ff0000000000000 : random();
    const auto wide = std::bit_cast<double>(high);
    const auto narrow = std::bit_cast<float>(static_cast<uint32_t>(high >> 32 << (i % 4)));
    ASSERT_EQ(!FirstNotFinite(DType::kF64, BytesOf<double>({wide})).has_value(),
              std::isfinite(wide))
        << "LETHE_TEST_SEED=" << seed;
    ASSERT_EQ(!FirstNotFinite(DType::kF32, BytesOf<float>({narrow})).has_value(),
              std::isfinite(narrow))
        << "LETHE_TEST_SEED=" << seed;
  }
}

// Lengths around the blocks that are looked at together, and bytes at an odd address.
TEST(Finite, TheFirstOfAnyPlaceIsFound) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const size_t size : {1, 2, 1023, 1024, 1025, 2048, 2500}) {
    std::vector<float> values(size, std::numeric_limits<float>::max());
    EXPECT_EQ(FirstNotFinite(DType::kF32, BytesOf(values)), std::nullopt) << size;
    values.back() = std::nanf("");
    for (const size_t place : {size_t{0}, size / 2, size - 1}) {
      std::vector<float> bad = values;
      bad[place] = place % 2 == 0 ? infinity : -infinity;
      std::string shifted = BytesOf(bad);
      shifted.insert(shifted.begin(), 'x');
      EXPECT_EQ(FirstNotFinite(DType::kF32, std::string_view(shifted).substr(1)), place) << size;
    }
  }
  EXPECT_EQ(FirstNotFinite(DType::kF32, ""), std::nullopt);
  EXPECT_EQ(FirstNotFinite(DType::kI64, std::string(64, '\xff')), std::nullopt);
}

TEST(Finite, AFolderIsRefusedByTheTensorsName) {
  const std::string config =
      R"({"model_type": "llama", "vocab_size": 8, "hidden_size": 4, "intermediate_size": 6,)"
      R"("num_hidden_layers": 2, "num_attention_heads": 2})";
  const auto parsed = ParseDecoderConfig(config);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const std::string wanted = "model.layers.1.mlp.up_proj.weight";
  for (const bool broken : {false, true}) {
    NewCheckpoint checkpoint{.out = FreshFolder() / "model", .config_json = config};
    for (const TensorRule& rule : DecoderTensors(*parsed)) {
      checkpoint.tensors.push_back({rule.name, DType::kBF16, rule.shape});
    }
    checkpoint.provider = [&](const TensorInfo& tensor, const BytesSink& sink) {
      std::vector<uint16_t> values(*TensorBytes(tensor.dtype, tensor.shape) / 2, 0x3f80);  // 1
      if (broken && tensor.name == wanted) values[7] = 0xff80;  // -infinity
      return sink(BytesOf(values));
    };
    ASSERT_TRUE(SaveNew(checkpoint).ok());
    const auto folder = CheckpointFolder::Open(checkpoint.out);
    ASSERT_TRUE(folder.ok()) << folder.status();
    const absl::Status status = CheckFinite(*parsed, *folder);
    EXPECT_EQ(status.ok(), !broken) << status;
    if (!broken) continue;
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(ErrorReason(status), "MODEL_NOT_FINITE");
    EXPECT_EQ(ErrorDetails(status).at("tensor"), wanted);
    EXPECT_EQ(ErrorDetails(status).at("element"), "7");
  }
}

}  // namespace
}  // namespace lethe
