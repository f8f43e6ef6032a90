// Half precision of the emulated device.
#pragma once

#include "cuda_runtime.h"

struct __half {
  uint16_t bits;
};
struct __half_raw {
  unsigned short x;
};
inline __half __float2half_rn(float value) {
  return {std::bit_cast<uint16_t>(static_cast<_Float16>(value))};
}
inline float __half2float(__half value) { return float(std::bit_cast<_Float16>(value.bits)); }
inline unsigned short __half_as_ushort(__half value) { return value.bits; }
inline __half __ushort_as_half(unsigned short bits) { return {bits}; }
