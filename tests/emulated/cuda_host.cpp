// Threads of a block as fibers that take turns. A fiber runs until it waits for others or ends; whoever waits at a
// barrier goes on when all that the barrier is for have come, and threads that have ended count as come. Shared memory
// is full of NaN when a block begins. What is reported: threads that wait for ever.
#include "cuda_host.h"

#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <random>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

Position threadIdx, blockIdx, blockDim;

namespace {
constexpr size_t STACK = 512 << 10, SHARED = 227 << 10;
}
extern "C" {
alignas(64) unsigned char gc_shared[SHARED + 64];
}

namespace {

struct Fiber {
  ucontext_t context;
  jmp_buf jump;
  void *stack = nullptr, *fake = nullptr;
  bool is_started = false, has_ended = true, is_waiting = false;
  unsigned mask = 0;  // of the warp it waits with; 0: the block
  unsigned turn = 0;
  uint64_t words[2];
};

std::vector<Fiber> fibers;
ucontext_t home;
jmp_buf home_jump;
void *home_fake = nullptr;
const void *home_stack = nullptr;
size_t home_size = 0;
const Launch *now;
unsigned current;

#if defined(__SANITIZE_ADDRESS__)
void to_fiber(Fiber &fiber) {
  __sanitizer_start_switch_fiber(&home_fake, fiber.stack, STACK);
  swapcontext(&home, &fiber.context);
  __sanitizer_finish_switch_fiber(home_fake, nullptr, nullptr);
}
void to_home(Fiber &fiber) {
  __sanitizer_start_switch_fiber(&fiber.fake, home_stack, home_size);
  swapcontext(&fiber.context, &home);
  __sanitizer_finish_switch_fiber(fiber.fake, &home_stack, &home_size);
}
void arrived(Fiber &fiber) { __sanitizer_finish_switch_fiber(fiber.fake, &home_stack, &home_size); }
#else
void to_fiber(Fiber &fiber) {  // without the system calls of swapcontext
  if (_setjmp(home_jump)) return;
  if (fiber.is_started) _longjmp(fiber.jump, 1);
  fiber.is_started = true;
  setcontext(&fiber.context);
}
void to_home(Fiber &fiber) {
  if (!_setjmp(fiber.jump)) _longjmp(home_jump, 1);
}
void arrived(Fiber &) {}
#endif

void body() {
  Fiber &fiber = fibers[current];
  arrived(fiber);
  for (;;) {  // a fiber serves one thread after the other
    now->call(now->kernel, now->arguments);
    fiber.has_ended = true;
    to_home(fiber);
  }
}

void begin(Fiber &fiber) {
  fiber.has_ended = fiber.is_waiting = false;
  fiber.turn = 0;
  if (fiber.stack) return;
  fiber.stack = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack;
  fiber.context.uc_stack.ss_size = STACK;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, body, 0);
}

void wait(unsigned mask) {
  Fiber &fiber = fibers[current];
  fiber.is_waiting = true;
  fiber.mask = mask;
  to_home(fiber);
}

bool has_come(unsigned thread, unsigned mask) {
  const Fiber &fiber = fibers[thread];
  return fiber.has_ended || (fiber.is_waiting && fiber.mask == mask);
}

// Lets those go on whose barrier is complete.
bool release(unsigned threads) {
  bool any = false;
  bool all = true;
  for (unsigned t = 0; t < threads; ++t) all = all && has_come(t, 0);
  for (unsigned t = 0; t < threads; ++t) {
    Fiber &fiber = fibers[t];
    if (!fiber.is_waiting || fiber.has_ended) continue;
    bool complete = all;
    if (fiber.mask) {
      complete = true;
      for (unsigned lane = 0; lane < 32; ++lane)
        if (fiber.mask >> lane & 1) complete = complete && (t / 32 * 32 + lane < threads) && has_come(t / 32 * 32 + lane, fiber.mask);
    }
    if (complete) fiber.turn |= 2;
  }
  for (unsigned t = 0; t < threads; ++t)
    if (fibers[t].turn & 2) fibers[t].turn &= 1, fibers[t].is_waiting = false, any = true;
  return any;
}

const char *run_block(const std::vector<unsigned> &order) {
  if (!now->is_together) {
    for (unsigned t : order) {
      threadIdx.x = t;
      now->call(now->kernel, now->arguments);
    }
    return nullptr;
  }
  if (fibers.size() < 1024) fibers = std::vector<Fiber>(1024);
  for (unsigned t = 0; t < now->threads; ++t) begin(fibers[t]);
  for (;;) {
    bool is_done = true;
    for (unsigned t : order) {
      if (fibers[t].has_ended || fibers[t].is_waiting) continue;
      current = threadIdx.x = t;
      to_fiber(fibers[t]);
    }
    for (unsigned t : order) is_done = is_done && fibers[t].has_ended;
    if (is_done) return nullptr;
    if (!release(now->threads)) {
      fibers.clear();
      return "threads wait for others that do not come";
    }
  }
}

std::vector<unsigned> in_order(unsigned count) {
  std::vector<unsigned> order(count);
  for (unsigned k = 0; k < count; ++k) order[k] = now->order == 1 ? count - 1 - k : k;
  if (now->order == 2) std::shuffle(order.begin(), order.end(), std::mt19937(now->seed));
  return order;
}

}  // namespace

void __syncthreads() { wait(0); }
void __syncwarp(unsigned mask) { wait(mask); }

unsigned long long exchange(unsigned mask, unsigned long long word, unsigned lane) {
  const unsigned self = current, side = fibers[self].turn & 1;
  fibers[self].words[side] = word;
  fibers[self].turn ^= 1;
  wait(mask);
  return mask >> lane & 1 ? fibers[self / 32 * 32 + lane].words[side] : 0x7ff7dead7fb7beefull;
}

const char *run_launch(const Launch &launch) {
  now = &launch;
  blockDim.x = launch.threads;
  if (launch.shared_bytes > SHARED) return "too much shared memory";
  const std::vector<unsigned> threads = in_order(launch.threads);
  for (unsigned block : in_order(launch.blocks)) {
    blockIdx.x = block;
    memset(gc_shared, 0xff, launch.shared_bytes);
#if defined(__SANITIZE_ADDRESS__)
    __asan_poison_memory_region(gc_shared + launch.shared_bytes, SHARED + 64 - launch.shared_bytes);
#endif
    const char *problem = run_block(threads);
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(gc_shared, sizeof gc_shared);
#endif
    if (problem) return problem;
  }
  return nullptr;
}
