// Is a number y below exp(-x^2 / 2)? Decided exactly, by intervals of integers.
//
// y < exp(-r) means y e^r < 1, and y e^r = sum_n y r^n / n! has positive terms: sums of terms
// rounded down stay below it; sums of terms rounded up, and once more the last term where each
// further one is at most half of the one before, stay above it. Where 1 lies between the two, more
// digits part them: e^r is irrational for every rational r > 0, so y e^r is never 1.
#pragma once

#include <cstdint>
#include <stdexcept>

namespace cloister {

// limbs[0] + limbs[1] 2^-32 + ... : `size` of them.
struct FixedPoint {
  static constexpr int capacity = 64;
  int size = 0;
  uint32_t limbs[capacity];

  explicit FixedPoint(int limbs_used = 1, uint32_t integer = 0) : size(limbs_used) {
    // 2000 bits are too few for a y that agrees with the curve in 900 bits, or beyond x = 137: both
    // have probability below 2^-900, and the call fails rather than rounds.
    if (size > capacity) throw std::runtime_error("noise: a comparison needs more than 2000 bits");
    for (int i = 0; i < size; ++i) limbs[i] = 0;
    limbs[0] = integer;
  }

  bool is_zero() const {
    for (int i = 0; i < size; ++i) {
      if (limbs[i] != 0) return false;
    }
    return true;
  }

  FixedPoint resized(int limbs_used) const {
    FixedPoint copy(limbs_used);
    for (int i = 0; i < size && i < limbs_used; ++i) copy.limbs[i] = limbs[i];
    return copy;
  }

  // Adds value * 2^-(32 place), and carries.
  void add(uint32_t value, int place) {
    uint64_t carry = value;
    for (int i = place; i >= 0 && carry != 0; --i) {
      carry += limbs[i];
      limbs[i] = uint32_t(carry);
      carry >>= 32;
    }
  }

  void add(const FixedPoint& other) {
    for (int i = size - 1; i >= 0; --i) add(other.limbs[i], i);
  }

  // Adds value * 2^-bits, which the limbs must reach.
  void add_at(uint32_t value, int bits) {
    const int place = (bits + 31) / 32;
    const uint64_t shifted = uint64_t(value) << (32 * place - bits);
    add(uint32_t(shifted), place);
    if (place > 0) add(uint32_t(shifted >> 32), place - 1);
  }
};

enum class Rounding { down, up };

// a * b / divisor to the limbs of a; b has as many.
inline FixedPoint scaled(const FixedPoint& a, const FixedPoint& b, uint32_t divisor,
                         Rounding rounding) {
  const int size = a.size;
  uint32_t product[2 * FixedPoint::capacity] = {};  // limbs of weight 2^32, 1, 2^-32, ...
  for (int i = size - 1; i >= 0; --i) {
    uint64_t carry = 0;
    for (int j = size - 1; j >= 0; --j) {
      carry += uint64_t(a.limbs[i]) * b.limbs[j] + product[i + j + 1];
      product[i + j + 1] = uint32_t(carry);
      carry >>= 32;
    }
    product[i] = uint32_t(carry);
  }
  FixedPoint result(size);
  uint64_t rest = product[0];  // zero: callers have a b < 2^32
  for (int i = 0; i < size; ++i) {
    rest = rest << 32 | product[i + 1];
    result.limbs[i] = uint32_t(rest / divisor);
    rest %= divisor;
  }
  bool inexact = rest != 0;
  for (int i = size + 1; i < 2 * size; ++i) inexact |= product[i] != 0;
  if (rounding == Rounding::up && inexact) result.add(1, size - 1);
  return result;
}

// y < exp(-x^2 / 2), for y <= 1 and x < 2^16. Both are exact.
inline bool is_below_density(const FixedPoint& y, const FixedPoint& x) {
  for (int size = 2 * (x.size > y.size ? x.size : y.size) + 2;; size += 2) {
    const FixedPoint exact_x = x.resized(size);
    const FixedPoint r = scaled(exact_x, exact_x, 2, Rounding::down);  // exact: the limbs suffice
    FixedPoint low_term = y.resized(size), high_term = low_term;
    FixedPoint low = low_term, high = low_term;
    for (uint32_t n = 1; !low_term.is_zero() || n / 2 <= r.limbs[0]; ++n) {
      low_term = scaled(low_term, r, n, Rounding::down);
      high_term = scaled(high_term, r, n, Rounding::up);
      low.add(low_term);
      high.add(high_term);
      if (low.limbs[0] != 0) return false;
      if ((n + 1) / 2 > r.limbs[0]) {  // n + 1 >= 2 r: each further term is at most half
        FixedPoint bound = high;
        bound.add(high_term);
        if (bound.limbs[0] == 0) return true;
      }
    }
  }
}

}  // namespace cloister
