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
constexpr int64_t batch_blocks = 64;         // cipher blocks at a time: divides 2^31
constexpr int64_t batch_words = batch_blocks * 16;

// Half of the keystream of one block of samples: the words of attempts have the cipher's counters
// below 2^31, the digits drawn later those from there on.
//
// A half has 2^35 words; 4096 samples take some 13,000 words, and as many digits or fewer. Used up,
// it neither wraps round nor repeats: the whole call fails. Attempts and digits of a sample have
// geometric tails: for the number T of words or digits of one sample, E exp(T / 100) < 2, so by
// Chernoff's bound a block fails with probability below 2^4097 exp(-2^35 / 100) < 2^-(10^8).
class Keystream {
 public:
  Keystream(const uint32_t* key, uint32_t stream, uint64_t block, uint32_t first)
      : key_(key), nonce_{stream, uint32_t(block), uint32_t(block >> 32)}, counter_(first) {}

  void read(uint32_t (&words)[batch_words]) {
    if (used_ == int64_t{1} << 31)
      throw std::runtime_error("noise: a block's keystream is used up");
    targets().chacha20(key_, uint32_t(counter_ + uint64_t(used_)), nonce_, batch_blocks, words);
    used_ += batch_blocks;
  }

 private:
  const uint32_t* key_;
  uint32_t nonce_[3];
  uint64_t counter_;
  int64_t used_ = 0;
};

// The second half as 16-bit digits, in the order of its bytes.
class DigitStream {
 public:
  explicit DigitStream(const Keystream& keystream) : keystream_(keystream) {}
  DigitStream(const DigitStream&) = delete;
  DigitStream& operator=(const DigitStream&) = delete;

  [[gnu::always_inline]] uint16_t next() {
    if (position_ == size) [[unlikely]]
      refill();
    return digits_[position_++];
  }

 private:
  static constexpr int64_t size = 2 * batch_words;

  [[gnu::noinline]] void refill() {
    uint32_t words[batch_words];
    keystream_.read(words);
    static_assert(sizeof words == sizeof digits_);
    std::memcpy(digits_, words, sizeof words);
    position_ = 0;
  }

  Keystream keystream_;
  int64_t position_ = size;
  uint16_t digits_[size];
};

// The first `count` samples of one block: attempts in the order of their words, those accepted
// kept.
void fill_block(const uint32_t* key, uint32_t stream, uint64_t block, double sigma, int64_t* out,
                int64_t count) {
  Keystream attempts(key, stream, block, 0);
  DigitStream digits(Keystream{key, stream, block, uint32_t{1} << 31});
  RoundedGaussian<DigitStream> sample(sigma, digits);
  for (const int64_t* const end = out + count; out != end;) {
    uint32_t words[batch_words];
    uint8_t verdicts[batch_words];
    int64_t kept[batch_words];
    attempts.read(words);
    targets().judge_attempts(words, batch_words, verdicts);
    int64_t candidates = 0;
    for (int64_t i = 0; i < batch_words; ++i) {  // without a branch: two in three are rejected
      kept[candidates] = i;
      candidates += verdicts[i] != attempt_rejected;
    }
    for (int64_t i = 0; i < candidates && out != end; ++i) {
      const uint32_t word = words[kept[i]];
      sample.start(word);
      if (verdicts[kept[i]] == attempt_open && !sample.settle(word)) continue;
      *out++ = sample.rounded();
    }
  }
}

}  // namespace

void noise(const uint8_t* key, uint32_t stream, double sigma, int64_t n, int64_t* out,
           Execution execution) {
  uint32_t key_words[8];
  std::memcpy(key_words, key, sizeof key_words);
  parallel_for(n, samples_per_block, execution, [&](int64_t begin, int64_t end, int64_t) {
    fill_block(key_words, stream, uint64_t(begin / samples_per_block), sigma, out + begin,
               end - begin);
  });
}

void chacha20_block(const uint8_t* key, uint32_t counter, const uint8_t* nonce, uint8_t* out) {
  uint32_t key_words[8], nonce_words[3], words[16];
  std::memcpy(key_words, key, sizeof key_words);
  std::memcpy(nonce_words, nonce, sizeof nonce_words);
  targets().chacha20(key_words, counter, nonce_words, 1, words);
  std::memcpy(out, words, sizeof words);
}

void judge_attempts(const uint32_t* words, int64_t n, uint8_t* verdicts) {
  const DefaultFloatMode mode;
  targets().judge_attempts(words, n, verdicts);
}

}  // namespace cloister
