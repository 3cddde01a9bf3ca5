"""What every CUDA source begins with: names of element types, and the operations that C++ lacks or leaves undefined.

All functions follow the rules at the top of `graphc.kernel.ir`. No header is needed, and of CUDA's own functions only
the conversions of bits, `fma`, and the mathematical ones that are exact: whoever defines these, and barriers and
shuffles, can compile the same text for a processor.
"""

PRELUDE = """\
typedef signed char i8;
typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;
typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;
typedef float f32;
typedef double f64;
typedef unsigned short bf16;
typedef unsigned short f16;

#define GC_FUNCTION __device__ __forceinline__

GC_FUNCTION f32 gc_fma(f32 a, f32 b, f32 c) { return __fmaf_rn(a, b, c); }
GC_FUNCTION f64 gc_fma(f64 a, f64 b, f64 c) { return __fma_rn(a, b, c); }

GC_FUNCTION u32 gc_bits(f32 x) { return __float_as_uint(x); }
GC_FUNCTION u64 gc_bits(f64 x) { return (u64)__double_as_longlong(x); }
GC_FUNCTION f32 gc_float(u32 x) { return __uint_as_float(x); }
GC_FUNCTION f64 gc_float(u64 x) { return __longlong_as_double((i64)x); }

GC_FUNCTION f32 gc_rem(f32 a, f32 b) { return fmodf(a, b); }
GC_FUNCTION f64 gc_rem(f64 a, f64 b) { return fmod(a, b); }
// Towards zero; 0 for a zero divisor; the smallest number by -1 wraps.
template <class T> GC_FUNCTION T gc_div(T a, T b) {
  return b == 0 ? (T)0 : (T)-1 < (T)0 && b == (T)-1 ? (T)(0ull - (u64)a) : (T)(a / b);
}
template <class T> GC_FUNCTION T gc_rem(T a, T b) {
  return b == 0 || ((T)-1 < (T)0 && b == (T)-1) ? (T)0 : (T)(a % b);
}

// Float to integer: towards zero, saturating, 0 for NaN.
template <class T, class F> GC_FUNCTION T gc_whole(F x) {
  const bool has_sign = (T)-1 < (T)0;
  const int bits = 8 * (int)sizeof(T) - has_sign;
  const F end = (F)(1ull << (bits - 1)) * (F)2;
  const T most = has_sign ? (T)((1ull << (bits - 1)) * 2 - 1) : (T)~0ull;
  if (x >= end) return most;
  if (x < (has_sign ? -end : (F)0)) return has_sign ? (T)~most : (T)0;
  return x != x ? (T)0 : (T)x;
}

// NaN wins; of equal numbers only the sign of zero can differ.
template <class T> GC_FUNCTION T gc_min(T a, T b) { return b < a ? b : a; }
template <class T> GC_FUNCTION T gc_max(T a, T b) { return a < b ? b : a; }
template <class T> GC_FUNCTION T gc_least(T a, T b) {
  return a == b ? gc_float(gc_bits(a) | gc_bits(b)) : a < b || a != a ? a : b;
}
template <class T> GC_FUNCTION T gc_greatest(T a, T b) {
  return a == b ? gc_float(gc_bits(a) & gc_bits(b)) : a > b || a != a ? a : b;
}
GC_FUNCTION f32 gc_min(f32 a, f32 b) { return gc_least(a, b); }
GC_FUNCTION f64 gc_min(f64 a, f64 b) { return gc_least(a, b); }
GC_FUNCTION f32 gc_max(f32 a, f32 b) { return gc_greatest(a, b); }
GC_FUNCTION f64 gc_max(f64 a, f64 b) { return gc_greatest(a, b); }

GC_FUNCTION f32 gc_from_bf16(bf16 x) { return gc_float((u32)x << 16); }
GC_FUNCTION bf16 gc_to_bf16(f32 x) {
  const u32 bits = gc_bits(x);
  return (bf16)((x != x ? bits | 0x7fc00000u : bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
// Scaling by 2**112 moves the exponent's offset and makes small numbers normal; infinity and NaN have one of their own.
GC_FUNCTION f32 gc_from_f16(f16 x) {
  const u32 bits = (u32)(x & 0x7fffu) << 13;
  const f32 size = bits < 0x0f800000u ? gc_float(bits) * 0x1p112f : gc_float(bits | 0x7f800000u);
  return gc_float(gc_bits(size) | (u32)(x & 0x8000u) << 16);
}
// The sum with a power of two that ends where a float16 of this size ends is what rounds.
GC_FUNCTION f16 gc_to_f16(f32 x) {
  const u32 bits = gc_bits(x) & 0x7fffffffu;
  const u32 sign = gc_bits(x) >> 16 & 0x8000u;
  if (bits > 0x7f800000u) return (f16)(sign | 0x7e00u | (bits >> 13 & 0x3ffu));
  if (bits >= 0x477ff000u) return (f16)(sign | 0x7c00u);
  if (bits < 0x38800000u) return (f16)(sign | (gc_bits(gc_float(bits) + 0.5f) & 0x7ffu));
  return (f16)(sign | (bits + 0xfffu + (bits >> 13 & 1u) - 0x38000000u) >> 13);
}
GC_FUNCTION u32 gc_pair(const bf16 *x) { return (u32)x[0] | (u32)x[1] << 16; }
GC_FUNCTION f32 gc_dot_pair(u32 a, u32 b, f32 c) {
  c = gc_fma(gc_float(a & 0xffff0000u), gc_float(b & 0xffff0000u), c);
  return gc_fma(gc_float(a << 16), gc_float(b << 16), c);
}
"""
