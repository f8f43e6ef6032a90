#include <bit>
#include <cstring>
#include <stdexcept>

#include "parallel.hpp"
#include "rounded_gaussian.hpp"
#include "targets.hpp"

namespace cloister {
namespace {

static_assert(std::endian::native == std::endian::little, "ChaCha20 bytes are read as integers");

constexpr int64_t samples_per_block = 4096;  // part of the contract: it fixes the output

// The keystream of one block of samples as 16-bit digits, in the order of its bytes.
//
// The counter has 32 bits, so there are 2^37 digits; 4096 samples take some 8 * 10^4. Used up, it
// neither wraps round nor repeats: the whole call fails. Every count of trials and digits in the
// sampler has a geometric tail; for the number T of digits of one sample, E exp(T / 100) is
// near 1.25, so by Chernoff's bound a block fails with probability below 2^4096 exp(-2^37 / 100) <
// 2^-(10^9).
class Keystream {
 public:
  Keystream(const uint32_t* key, uint32_t stream, uint64_t block)
      : key_(key), nonce_{stream, uint32_t(block), uint32_t(block >> 32)} {}
  Keystream(const Keystream&) = delete;
  Keystream& operator=(const Keystream&) = delete;

  [[gnu::always_inline]] uint16_t next() {
    if (position_ == size) [[unlikely]]
      refill();
    return digits_[position_++];
  }

 private:
  static constexpr int64_t batch = 64;  // cipher blocks at a time: divides 2^32
  static constexpr int64_t size = batch * 32;

  [[gnu::noinline]] void refill() {
    if (counter_ >> 32) throw std::runtime_error("the keystream of a block of noise is used up");
    uint32_t words[batch * 16];
    targets().chacha20(key_, uint32_t(counter_), nonce_, batch, words);
    static_assert(sizeof words == sizeof digits_);
    std::memcpy(digits_, words, sizeof words);
    counter_ += batch;
    position_ = 0;
  }

  const uint32_t* key_;
  uint32_t nonce_[3];
  uint64_t counter_ = 0;
  int64_t position_ = size;
  uint16_t digits_[size];
};

}  // namespace

void noise(const uint8_t* key, uint32_t stream, double sigma, int64_t n, int64_t* out,
           Execution execution) {
  uint32_t key_words[8];
  std::memcpy(key_words, key, sizeof key_words);
  parallel_for(n, samples_per_block, execution, [&](int64_t begin, int64_t end, int64_t) {
    Keystream digits(key_words, stream, uint64_t(begin / samples_per_block));
    RoundedGaussian<Keystream> sample(sigma, digits);
    for (int64_t i = begin; i < end; ++i) out[i] = sample();
  });
}

void chacha20_block(const uint8_t* key, uint32_t counter, const uint8_t* nonce, uint8_t* out) {
  uint32_t key_words[8], nonce_words[3], words[16];
  std::memcpy(key_words, key, sizeof key_words);
  std::memcpy(nonce_words, nonce, sizeof nonce_words);
  targets().chacha20(key_words, counter, nonce_words, 1, words);
  std::memcpy(out, words, sizeof words);
}

}  // namespace cloister
