// round(sigma * g) for a standard normal g, sampled exactly from uniform random digits.
//
// Rejection (von Neumann 1951): where (x, y) is uniform on an area that holds everything below
// exp(-x^2 / 2), x >= 0, an x whose y is below it has the density of |g|. The area is the box
// 0 <= x < 4, 0 <= y < 1, of which 0.31 lies below the curve, and for the tail a column over each
// [4 + m, 5 + m), m = 0, 1, ..., of height 127 * 2^(-17 - 7 m), which is above the curve:
//   -log2(exp(-(4 + m)^2 / 2)) > 1.44 (16 + 8 m + m^2) / 2 = 11.52 + 5.76 m + 0.72 m^2
//                              > 10.02 + 7 m > -log2(127 * 2^(-17 - 7 m)),
// as 1.5 - 1.24 m + 0.72 m^2 has no zero.
// All columns together are as large as the corner 3 <= x < 4, y >= 1 - 2^-10 of the box, which is
// above the curve: a point that falls there is moved to column m with the probability of its share,
// (1 - 2^-7) 2^(-7 m).
//
// Uniform numbers are endless sequences of 16-bit digits, drawn when they are first asked for: y
// is compared with the curve as a real number, never as a rounding. A 32-bit word starts an
// attempt: bits 0 to 15 are the first digit of the fraction of x, 16 and 17 its integer part, 18 to
// 30 the first 13 bits of y, and 31 the sign. Almost every attempt is decided by that
// (judge_attempts in noise.inl, a filter that errs on no side); the others ask below_density.hpp,
// which is exact. Digits are so short that this, where most of the care lies, is frequent enough to
// be tested: one word in 2,500, 5/8 of them in the corner, so one sample in 790.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "below_density.hpp"

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

  void start(uint32_t word) {
    negative_ = word >> 31;
    k_ = word >> 16 & 3;
    first_ = uint16_t(word);
    rest_.clear();
  }

  // Whether the attempt that started with this word, which left it open, is accepted.
  bool settle(uint32_t word) {
    if (k_ == 3 && (word >> 21 & 0x3FF) == 0x3FF) {
      for (k_ = 4; digits_.next() < 1u << 9;) ++k_;
      y_.assign(1, digits_.next());
      return settle(127, 17 + 7 * int(k_ - 4));
    }
    y_.assign(1, uint16_t((word >> 18 & 0x1FFF) << 3));
    const Side side = side_of(1, 0, 8);
    if (side != Side::open) return side == Side::below;
    y_[0] = uint16_t(y_[0] | (digits_.next() & 7));
    return settle(1, 0);
  }

  // round(-y) = -round(y) but for ties, and each of the countably many ties asks for one certain x:
  // "ties upwards" holds for both signs, up to a set of probability zero.
  int64_t rounded() {
    const uint64_t magnitude = round_scaled();
    return int64_t(negative_ ? 0 - magnitude : magnitude);
  }

 private:
  __extension__ typedef unsigned __int128 uint128;
  __extension__ typedef __int128 int128;

  enum class Side { below, above, open };

  uint16_t digit(int64_t place) {
    if (place == 0) return first_;
    const auto i = size_t(place - 1);
    while (rest_.size() <= i) rest_.push_back(digits_.next());
    return rest_[i];
  }

  // Draws a digit of x, then one of y, until factor * y / 2^bits and the curve part.
  bool settle(uint32_t factor, int bits) {
    for (;;) {
      const Side side = side_of(factor, bits, 1);
      if (side != Side::open) return side == Side::below;
      digit(int64_t(rest_.size()) + 1);
      y_.push_back(digits_.next());
    }
  }

  // What the digits drawn so far say, `unit` being how many of the last place y leaves open: the
  // curve falls, so the point is surely below it if the upper right corner of its cell is.
  Side side_of(uint32_t factor, int bits, uint32_t unit) const {
    const int places = int(y_.size());
    FixedPoint x((16 * places + 31) / 32 + 1, uint32_t(k_));
    FixedPoint y((16 * places + bits + 31) / 32 + 1);
    x.add_at(first_, 16);
    for (int i = 0; i < int(rest_.size()); ++i) x.add_at(rest_[size_t(i)], 16 * (i + 2));
    for (int i = 0; i < places; ++i) y.add_at(factor * y_[size_t(i)], 16 * (i + 1) + bits);
    if (!is_below_density(y, x)) return Side::above;
    x.add_at(1, 16 * (int(rest_.size()) + 1));
    y.add_at(factor * unit, 16 * places + bits);
    return is_below_density(y, x) ? Side::below : Side::open;
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

  // floor(sigma (k + x) + 1/2), modulo 2^64, x now the fraction. Let `head` be the first h digits
  // of x as an integer, y the uniform of its other digits and scale = shift + 16 h. Then this is
  // the floor of
  //   mantissa k / 2^shift + (mantissa (head + y) + 2^(scale - 1)) / 2^scale.
  // h is the smallest with scale >= 53, so that mantissa y < 2^scale crosses one integer at most:
  // h <= 4, and scale < 69 unless h = 0. With k < 2^11 (FixedPoint has room for k <= 136) the sum
  // below stays under 2^69 + 2^(53 + 64) + 2^68 where h > 0, and 2^101 where h = 0 (shift <= 100).
  uint64_t round_scaled() {
    if (shift_ > 100) return 0;  // sigma (k + x) < 2^-48 * 2^11 < 1/2
    const uint128 product = uint128(mantissa_) * k_;
    uint64_t head = 0;
    for (int place = 0; place < head_; ++place) head = head << 16 | digit(place);

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
           !less_than_ratio(int128(room), int128(mantissa_), [&] { return digit(place++); });
  }

  Digits& digits_;
  uint64_t mantissa_;
  int shift_, head_;
  bool negative_ = false;
  uint64_t k_ = 0;              // the integer part of x
  uint16_t first_ = 0;          // the first digit of its fraction
  std::vector<uint16_t> rest_;  // and those after it that were asked for so far
  std::vector<uint16_t> y_;
};

}  // namespace cloister
