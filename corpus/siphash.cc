#include "corpus/siphash.h"

#include <bit>

#include "corpus/byte_order.h"

namespace lethe {
namespace {

// The four words v0 .. v3 of the paper's section 2.
class State {
 public:
  explicit State(const SipKey& key)
      : v_{key.low ^ 0x736f6d6570736575, key.high ^ 0x646f72616e646f6d,
           key.low ^ 0x6c7967656e657261, key.high ^ 0x7465646279746573} {}

  void Compress(uint64_t word) {
    v_[3] ^= word;
    Round();
    Round();
    v_[0] ^= word;
  }
  uint64_t Finish() {
    v_[2] ^= 0xff;
    for (int i = 0; i < 4; ++i) Round();
    return v_[0] ^ v_[1] ^ v_[2] ^ v_[3];
  }

 private:
  // v[a] += v[b], v[b] turned by `bits` and mixed: one arrow of the paper's figure 2.1.
  void Mix(int a, int b, int bits) {
    v_[a] += v_[b];
    v_[b] = std::rotl(v_[b], bits) ^ v_[a];
  }
  void Round() {
    Mix(0, 1, 13);
    v_[0] = std::rotl(v_[0], 32);
    Mix(2, 3, 16);
    Mix(0, 3, 21);
    Mix(2, 1, 17);
    v_[2] = std::rotl(v_[2], 32);
  }

  uint64_t v_[4];
};

}  // namespace

uint64_t SipHash(const SipKey& key, std::string_view bytes) {
  State state(key);
  const uint64_t length = bytes.size();
  for (; bytes.size() >= 8; bytes.remove_prefix(8)) state.Compress(LoadLittle(bytes.data(), 8));
  state.Compress(length << 56 | LoadLittle(bytes.data(), bytes.size()));
  return state.Finish();
}

}  // namespace lethe
