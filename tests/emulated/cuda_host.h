// Just enough of CUDA C++ to compile generated kernels for the host: every CUDA thread is a fiber, and those of a block
// take turns, in an order that the caller chooses. See cuda_host.cpp.
#pragma once
#include <math.h>
#include <stddef.h>
#include <string.h>
#include <utility>

#define __global__
#define __device__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(threads)
#define __shared__
#define __align__(bytes) __attribute__((aligned(bytes)))

struct Position {
  unsigned x;
};
extern Position threadIdx, blockIdx, blockDim;
extern "C" unsigned char gc_shared[];

static inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline double __fma_rn(double a, double b, double c) { return __builtin_fma(a, b, c); }

template <class To, class From> static inline To same_bits(From x) {
  To y;
  memcpy(&y, &x, sizeof y);
  return y;
}
static inline unsigned __float_as_uint(float x) { return same_bits<unsigned>(x); }
static inline float __uint_as_float(unsigned x) { return same_bits<float>(x); }
static inline long long __double_as_longlong(double x) { return same_bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return same_bits<double>(x); }

void __syncthreads();
void __syncwarp(unsigned mask);
unsigned long long exchange(unsigned mask, unsigned long long word, unsigned lane);

template <class T> T __shfl_sync(unsigned mask, T value, int lane, int width) {
  unsigned long long word = 0;
  memcpy(&word, &value, sizeof value);
  const unsigned first = threadIdx.x % 32 / width * width;
  word = exchange(mask, word, first + (unsigned)lane % width);
  memcpy(&value, &word, sizeof value);
  return value;
}
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width) {
  const unsigned lane = threadIdx.x % width;
  return __shfl_sync(mask, value, lane + distance < (unsigned)width ? lane + distance : lane, width);
}

struct Launch {
  void (*call)(void (*)(), void **);
  void (*kernel)();
  void **arguments;
  unsigned blocks, threads;
  size_t shared_bytes;
  int order;        // of threads and blocks: 0 forward, 1 reverse, 2 shuffled
  unsigned seed;    // of the shuffle
  int is_together;  // whether threads wait for each other anywhere
};
const char *run_launch(const Launch &launch);

template <class... A, size_t... I> static void call_with(void (*kernel)(A...), void **argv, std::index_sequence<I...>) {
  kernel(*(A *)argv[I]...);
}
template <class... A> static void call_erased(void (*kernel)(), void **argv) {
  call_with(reinterpret_cast<void (*)(A...)>(kernel), argv, std::index_sequence_for<A...>{});
}
template <class... A> static const char *run_kernel(void (*kernel)(A...), Launch launch) {
  launch.call = &call_erased<A...>;
  launch.kernel = reinterpret_cast<void (*)()>(kernel);
  return run_launch(launch);
}

#define EMULATED(name)                                                                                             \
  extern "C" const char *run_##name(void **arguments, unsigned blocks, unsigned threads, size_t shared_bytes,      \
                                    int order, unsigned seed, int is_together) {                                   \
    return run_kernel(name, Launch{nullptr, nullptr, arguments, blocks, threads, shared_bytes, order, seed,        \
                                   is_together});                                                                  \
  }
