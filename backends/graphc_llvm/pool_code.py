"""The native runtime, written once: sharing a parallel loop among threads, and a clock.

One 64-bit word says which job is on and how many chunks are left: `epoch << 32 | remaining`. A chunk is taken by
compare-and-swap on it, so a worker that took one knows the job's fields hold still until it has added itself to `done`.
The caller works too and waits for chunks, not for workers: a worker that sleeps costs nothing.

Layout of the pool block (bytes): see `FIELDS`; words that different threads write lie in different cache lines.
"""

from collections.abc import Mapping

FIELDS: Mapping[str, int] = {
    "word": 0,  # epoch << 32 | chunks left
    "done": 128,  # chunks finished
    "function": 256,
    "args": 264,
    "extent": 272,
    "grain": 280,
    "scratch": 288,  # heap scratch of thread 0; thread i's is `stride` bytes further on, times i
    "stride": 296,
    "spins": 304,  # looks at the word before a worker sleeps
    "wake": 384,  # futex word, counts wake-ups
    "sleepers": 512,
    "stop": 640,
}
POOL_BYTES = 768

_FUTEX = {"x86_64": 202, "aarch64": 98, "arm64": 98, "riscv64": 98}
_FUTEX_WAIT, _FUTEX_WAKE = 128, 129  # the private forms


def runtime_text(machine: str, system: str) -> str:
    """LLVM text of `gc_parallel`, `gc_worker`, `gc_wake` and `gc_clock` for this machine."""
    futex = _FUTEX.get(machine.lower()) if system == "Linux" else None
    pause = {
        "x86_64": "call void @llvm.x86.sse2.pause()",
        "amd64": "call void @llvm.x86.sse2.pause()",
        "aarch64": 'call void asm sideeffect "yield", ""()',
        "arm64": 'call void asm sideeffect "yield", ""()',
    }.get(machine.lower(), 'call void asm sideeffect "", "~{memory}"()')
    wait = "call i32 @usleep(i32 100)"
    wake = ""
    if futex is not None:
        wait = f"call i64 (i64, ...) @syscall(i64 {futex}, ptr %wake.at, i32 {_FUTEX_WAIT}, i32 %seen, ptr null)"
        wake = f"call i64 (i64, ...) @syscall(i64 {futex}, ptr %wake.at, i32 {_FUTEX_WAKE}, i32 1073741824)"
    clock = "6" if system == "Darwin" else "1"
    text = _TEXT.replace("PAUSE", pause).replace("WAIT", wait)
    text = text.replace("  WAKE\n", f"  %woke = {wake}\n" if wake else "").replace("CLOCK", clock)
    for name, offset in FIELDS.items():
        text = text.replace(f"AT({name})", f"getelementptr i8, ptr %pool, i64 {offset}")
    needs = ["declare i32 @sched_yield()", "declare i32 @clock_gettime(i32, ptr)"]
    needs.append("declare i64 @syscall(i64, ...)" if futex is not None else "declare i32 @usleep(i32)")
    if "x86" in pause:
        needs.append("declare void @llvm.x86.sse2.pause()")
    return text + "\n".join(needs) + "\n"


_TEXT = """
; Take one chunk of the current job and run it. Returns whether there was one.
define internal i1 @take(ptr %pool, i64 %thread) {
entry:
  %word.at = AT(word)
  br label %look
look:
  %word = load atomic i64, ptr %word.at acquire, align 8
  %left = and i64 %word, 4294967295
  %none = icmp eq i64 %left, 0
  br i1 %none, label %nothing, label %try
nothing:
  ret i1 false
try:
  %less = sub i64 %word, 1
  %swap = cmpxchg ptr %word.at, i64 %word, i64 %less acq_rel acquire
  %won = extractvalue { i64, i1 } %swap, 1
  br i1 %won, label %run, label %look
run:
  %function.at = AT(function)
  %function = load ptr, ptr %function.at, align 8
  %args.at = AT(args)
  %args = load ptr, ptr %args.at, align 8
  %extent.at = AT(extent)
  %extent = load i64, ptr %extent.at, align 8
  %grain.at = AT(grain)
  %grain = load i64, ptr %grain.at, align 8
  %scratch.at = AT(scratch)
  %base = load ptr, ptr %scratch.at, align 8
  %stride.at = AT(stride)
  %stride = load i64, ptr %stride.at, align 8
  %own = mul i64 %thread, %stride
  %scratch = getelementptr i8, ptr %base, i64 %own
  %chunk = and i64 %less, 4294967295
  %begin = mul i64 %chunk, %grain
  %past = add i64 %begin, %grain
  %end = call i64 @llvm.smin.i64(i64 %past, i64 %extent)
  call void %function(ptr %args, i64 %begin, i64 %end, ptr %scratch)
  %done.at = AT(done)
  %before = atomicrmw add ptr %done.at, i64 1 release
  ret i1 true
}

; Run `function` over `extent` iterations in chunks of `grain`, on the caller and the workers. No pool: no workers.
define void @gc_parallel(ptr %pool, ptr %function, ptr %args, i64 %extent, i64 %grain, ptr %scratch, i64 %stride) {
entry:
  %up = add i64 %extent, %grain
  %up.less = sub i64 %up, 1
  %chunks = sdiv i64 %up.less, %grain
  %no.pool = icmp eq ptr %pool, null
  %single = icmp sle i64 %chunks, 1
  %alone = or i1 %no.pool, %single
  br i1 %alone, label %direct, label %publish
direct:
  call void %function(ptr %args, i64 0, i64 %extent, ptr %scratch)
  ret void
publish:
  %function.at = AT(function)
  store ptr %function, ptr %function.at, align 8
  %args.at = AT(args)
  store ptr %args, ptr %args.at, align 8
  %extent.at = AT(extent)
  store i64 %extent, ptr %extent.at, align 8
  %grain.at = AT(grain)
  store i64 %grain, ptr %grain.at, align 8
  %scratch.at = AT(scratch)
  store ptr %scratch, ptr %scratch.at, align 8
  %stride.at = AT(stride)
  store i64 %stride, ptr %stride.at, align 8
  %done.at = AT(done)
  store atomic i64 0, ptr %done.at monotonic, align 8
  %word.at = AT(word)
  %old = load atomic i64, ptr %word.at monotonic, align 8
  %old.epoch = and i64 %old, -4294967296
  %epoch = add i64 %old.epoch, 4294967296
  %word = or i64 %epoch, %chunks
  store atomic i64 %word, ptr %word.at seq_cst, align 8
  %sleepers.at = AT(sleepers)
  %sleepers = atomicrmw add ptr %sleepers.at, i32 0 seq_cst
  %asleep = icmp sgt i32 %sleepers, 0
  br i1 %asleep, label %call.them, label %work
call.them:
  call void @gc_wake(ptr %pool)
  br label %work
work:
  %took = call i1 @take(ptr %pool, i64 0)
  br i1 %took, label %work, label %wait
wait:
  %turn = phi i64 [ 0, %work ], [ %turn.next, %again ]
  %done = load atomic i64, ptr %done.at acquire, align 8
  %all = icmp eq i64 %done, %chunks
  br i1 %all, label %finished, label %relax
relax:
  %turn.next = add i64 %turn, 1
  %long = icmp sgt i64 %turn, 2000
  br i1 %long, label %yield, label %pause
yield:
  %yielded = call i32 @sched_yield()
  br label %again
pause:
  PAUSE
  br label %again
again:
  br label %wait
finished:
  ret void
}

; Wake every sleeping worker.
define void @gc_wake(ptr %pool) {
entry:
  %wake.at = AT(wake)
  %count = atomicrmw add ptr %wake.at, i32 1 seq_cst
  WAKE
  ret void
}

; What a worker thread does until the pool is stopped.
define void @gc_worker(ptr %pool, i64 %thread) {
entry:
  %spins.at = AT(spins)
  %spins = load i64, ptr %spins.at, align 8
  %stop.at = AT(stop)
  %wake.at = AT(wake)
  %word.at = AT(word)
  %sleepers.at = AT(sleepers)
  br label %fresh
fresh:
  br label %look
look:
  %turn = phi i64 [ 0, %fresh ], [ %turn.next, %relax ]
  %took = call i1 @take(ptr %pool, i64 %thread)
  br i1 %took, label %fresh, label %idle
idle:
  %stop = load atomic i32, ptr %stop.at acquire, align 4
  %stopped = icmp ne i32 %stop, 0
  br i1 %stopped, label %leave, label %tired
tired:
  %turn.next = add i64 %turn, 1
  %long = icmp sge i64 %turn, %spins
  br i1 %long, label %park, label %relax
relax:
  PAUSE
  br label %look
park:
  %in = atomicrmw add ptr %sleepers.at, i32 1 seq_cst
  %seen = load atomic i32, ptr %wake.at seq_cst, align 4
  %word = load atomic i64, ptr %word.at seq_cst, align 8
  %left = and i64 %word, 4294967295
  %idle.still = icmp eq i64 %left, 0
  %stop.now = load atomic i32, ptr %stop.at seq_cst, align 4
  %going = icmp eq i32 %stop.now, 0
  %sleep.now = and i1 %idle.still, %going
  br i1 %sleep.now, label %sleep, label %up
sleep:
  %woken = WAIT
  br label %up
up:
  %out = atomicrmw sub ptr %sleepers.at, i32 1 seq_cst
  br label %fresh
leave:
  ret void
}

; Nanoseconds of a clock that never goes back.
define i64 @gc_clock() {
entry:
  %time = alloca [2 x i64], align 8
  %status = call i32 @clock_gettime(i32 CLOCK, ptr %time)
  %seconds = load i64, ptr %time, align 8
  %rest.at = getelementptr i64, ptr %time, i64 1
  %rest = load i64, ptr %rest.at, align 8
  %whole = mul i64 %seconds, 1000000000
  %now = add i64 %whole, %rest
  ret i64 %now
}

declare i64 @llvm.smin.i64(i64, i64)
"""
