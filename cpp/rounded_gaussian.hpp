// round(sigma * g) for a standard normal g, sampled exactly from uniform random digits.
//
// C. F. F. Karney, "Sampling exactly from the normal distribution", ACM Trans. Math. Softw. 42(1),
// 2016, Algorithm N. Every uniform is an endless sequence of 16-bit digits, drawn when a comparison
// first asks for them: a comparison is that of real numbers, never of roundings. There is no
// floating-point arithmetic but frexp and ldexp, which are exact. Digits are as short as 16 bits so
// that ties between first digits, where most of the care lies, are frequent enough to be tested:
// one in some 20,000 samples.
//
// |g| = k + x with k >= 0 an integer and 0 < x < 1 has a density proportional to
//   exp(-(k + x)^2 / 2) = exp(-k/2) * exp(-k(k - 1)/2) * exp(-x(2k + x)/2),
// and the three factors are: the geometric draw of k (up to a constant), then two rejections.
//
// Bounds. A block of noise has a keystream of 2^37 digits (noise.cpp). A k that is accepted has
// passed k(k - 1) trials of at least one digit each, so k < 2^19; while counting, k <= 2^37.
// Results are modulo 2^64, which is post-processing: for sigma < 2^52 they are off only where
// |g| >= 2^11 (probability below 2^-3000000).
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace cloister {

template <class Digits>  // next() returns independent uniform uint16_t
class RoundedGaussian {
 public:
  // sigma = mantissa * 2^-shift with 2^52 <= mantissa < 2^53, subnormals too; from sigma < 2^52
  // follows shift >= 1.
  RoundedGaussian(double sigma, Digits& digits) : digits_(digits) {
    int exponent;
    const double fraction = std::frexp(sigma, &exponent);
    mantissa_ = uint64_t(std::ldexp(fraction, 53));
    shift_ = 53 - exponent;
    head_ = shift_ >= 53 ? 0 : (53 - shift_ + 15) / 16;
  }

  // round(-y) = -round(y) but for ties, which ask for an x whose digits are all zero from some
  // place on: "ties upwards" holds for both signs, up to a set of probability zero.
  int64_t operator()() {
    const uint64_t k = draw_magnitude();
    const bool negative = digits_.next() & 1;
    const uint64_t magnitude = round_scaled(k);
    return int64_t(negative ? 0 - magnitude : magnitude);
  }

 private:
  __extension__ typedef unsigned __int128 uint128;
  __extension__ typedef __int128 int128;

  // A uniform real number: its first digit, and those after it that were asked for so far.
  struct Uniform {
    uint16_t first;
    std::vector<uint16_t> rest;
  };

  void draw(Uniform& u) {
    u.first = digits_.next();
    u.rest.clear();
  }

  uint16_t digit(Uniform& u, int64_t place) {
    if (place == 0) return u.first;
    const auto i = size_t(place - 1);
    while (u.rest.size() <= i) u.rest.push_back(digits_.next());
    return u.rest[i];
  }

  bool less(Uniform& a, Uniform& b) {
    if (a.first != b.first) [[likely]]
      return a.first < b.first;
    return less_after_tie(a, b);
  }

  [[gnu::noinline]] bool less_after_tie(Uniform& a, Uniform& b) {
    for (int64_t place = 1;; ++place) {
      const uint16_t left = digit(a, place);
      const uint16_t right = digit(b, place);
      if (left != right) return left < right;
    }
  }

  // u < numerator / denominator, 0 < numerator < denominator < 2^53, for the uniform u of the
  // digits that next() gives. With u = (digit + v) / 2^16 the question becomes
  // v < (2^16 numerator - denominator * digit) / denominator: settled, or the same one about v.
  // The values stay within 2^69.
  template <class Next>
  static bool less_than_ratio(int128 numerator, int128 denominator, Next&& next) {
    for (;;) {
      numerator = (numerator << 16) - denominator * next();
      if (numerator >= denominator) return true;
      if (numerator <= 0) return false;
    }
  }

  template <class Trial>
  static bool all(uint64_t count, Trial&& trial) {
    while (count > 0 && trial()) --count;
    return count == 0;
  }

  // True with probability exp(-1/2). The run 1/2 > y_1 > y_2 > ... of uniforms has at least n
  // members with probability 2^-n / n!, so an even number of them with probability
  // sum_n (-1)^n 2^-n / n! (von Neumann 1951; Karney's Algorithm H). First
  // digits alone decide, but for ties.
  bool trial_half() {
    uint16_t last = digits_.next();
    if (last >= 1u << 15) return true;
    for (int parity = 1;; parity ^= 1) {
      const uint16_t next = digits_.next();
      if (next > last) return parity == 0;
      if (next == last) [[unlikely]]
        return finish_run(parity, last);
      last = next;
    }
  }

  // The run of trial_half from a tie on: y_[parity] is the newest member, if it is one.
  [[gnu::noinline]] bool finish_run(int parity, uint16_t first) {
    y_[0] = {first, {}};
    y_[1] = {first, {}};
    for (;;) {
      if (!less(y_[parity], y_[parity ^ 1])) return parity == 0;
      parity ^= 1;
      draw(y_[parity]);
    }
  }

  // True with probability exp(-x p), p = (2k + x) / (2k + 2): the run x > y_1 > y_2 > ..., each
  // member allowed with probability p, has at least n members with probability (x p)^n / n!
  // (Karney's Algorithm B). k + 1 such trials multiply to exp(-x(2k + x) / 2).
  bool trial_fraction(uint64_t k) {
    Uniform* last = &x_;
    for (int parity = 0;; parity ^= 1) {
      draw(y_[parity]);
      if (!less(y_[parity], *last) || !trial_slope(k)) return parity == 0;
      last = &y_[parity];
    }
  }

  // True with probability (2k + x) / (2k + 2) = k / (k + 1) + 1 / (k + 1) * 1/2 * x.
  bool trial_slope(uint64_t k) {
    const auto next = [&] { return digits_.next(); };
    if (k > 0 && less_than_ratio(int128(k), int128(k + 1), next)) return true;
    if (digits_.next() & 1) return false;
    draw(r_);
    return less(r_, x_);
  }

  // Leaves the fraction of the magnitude in x_ and returns its integer part. Half of the attempts
  // are accepted.
  uint64_t draw_magnitude() {
    for (;;) {
      uint64_t k = 0;
      while (trial_half()) ++k;
      // k times k - 1 trials, not k(k - 1), which need not fit 64 bits
      if (!all(k, [&] { return all(k - 1, [&] { return trial_half(); }); })) continue;
      draw(x_);
      if (all(k + 1, [&] { return trial_fraction(k); })) return k;
    }
  }

  // floor(sigma (k + x) + 1/2), modulo 2^64. Let `head` be the first h digits of x as an integer, y
  // the uniform of its other digits and scale = shift + 16 h. Then this is the floor of
  //   mantissa k / 2^shift + (mantissa (head + y) + 2^(scale - 1)) / 2^scale.
  // h is the smallest with scale >= 53, so that mantissa y < 2^scale crosses one integer at most:
  // h <= 4, and scale < 69 unless h = 0. The sum below stays under
  //   2^69 + 2^(53 + 64) + 2^68 where h > 0, and 2^101 where h = 0 (shift <= 100).
  uint64_t round_scaled(uint64_t k) {
    if (shift_ > 100) return 0;  // sigma (k + x) < 2^-48 * 2^19 < 1/2
    const uint128 product = uint128(mantissa_) * k;
    uint64_t head = 0;
    for (int place = 0; place < head_; ++place) head = head << 16 | digit(x_, place);

    const int scale = shift_ + 16 * head_;
    const uint128 one = uint128(1) << scale;
    const uint128 remainder = product & ((uint128(1) << shift_) - 1);
    const uint128 sum = (remainder << (16 * head_)) + uint128(mantissa_) * head + one / 2;
    const uint64_t floor = uint64_t(product >> shift_) +  // modulo 2^64
                           uint64_t(sum >> scale);

    const uint128 room = one - (sum & (one - 1));  // to the next integer, which y may cross
    if (room >= mantissa_) return floor;
    int64_t place = head_;
    return floor +
           !less_than_ratio(int128(room), int128(mantissa_), [&] { return digit(x_, place++); });
  }

  Digits& digits_;
  uint64_t mantissa_;
  int shift_, head_;
  Uniform x_, y_[2], r_;
};

}  // namespace cloister
