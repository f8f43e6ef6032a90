// Arithmetic of the emulated device: the host's, which rounds as IEEE 754 says.
#pragma once

template <class A, class B>
constexpr auto min(A a, B b) {
  return b < a ? b : a;
}
template <class A, class B>
constexpr auto max(A a, B b) {
  return a < b ? b : a;
}

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float __fsqrt_rn(float a) { return __builtin_sqrtf(a); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double a) { return __builtin_sqrt(a); }

inline int __float2int_rn(float a) { return int(__builtin_rintf(a)); }
inline int __double2int_rn(double a) { return int(__builtin_rint(a)); }
inline float __int2float_rn(int a) { return float(a); }
inline float __double2float_rn(double a) { return float(a); }
inline int __float_as_int(float a) { return std::bit_cast<int>(a); }
inline unsigned __float_as_uint(float a) { return std::bit_cast<unsigned>(a); }
inline float __int_as_float(int a) { return std::bit_cast<float>(a); }
inline float __uint_as_float(unsigned a) { return std::bit_cast<float>(a); }
inline long long __double_as_longlong(double a) { return std::bit_cast<long long>(a); }
inline int __double2loint(double a) { return int(std::bit_cast<uint64_t>(a)); }
inline int __double2hiint(double a) { return int(std::bit_cast<uint64_t>(a) >> 32); }
inline double __hiloint2double(int high, int low) {
  return std::bit_cast<double>(uint64_t(uint32_t(high)) << 32 | uint32_t(low));
}

// The next float towards an infinity where the exact result is none.
inline float __round_up(double exact) {
  const float near = float(exact);
  return double(near) < exact ? std::nextafterf(near, INFINITY) : near;
}
inline float __double2float_ru(double a) { return __round_up(a); }
inline float __fadd_ru(float a, float b) { return __round_up(double(a) + double(b)); }

inline int __popc(unsigned a) { return __builtin_popcount(a); }
inline int __ffs(int a) { return __builtin_ffs(a); }
template <class T>
T __ldg(const T* place) {
  return *place;
}
template <class T>
T __ldcs(const T* place) {
  return *place;
}
template <class T>
void __stcs(T* place, T value) {
  *place = value;
}

inline int __dp4a(int a, int b, int sum) {
  for (int byte = 0; byte < 4; ++byte) {
    sum += int(int8_t(a >> (8 * byte))) * int(int8_t(b >> (8 * byte)));
  }
  return sum;
}
