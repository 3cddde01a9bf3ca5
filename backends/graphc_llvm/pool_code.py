"""The native runtime, written once: sharing work among threads, taking turns on a record, looking at signals, a clock.

A *job* is a table of segments that do not depend on each other, each a function over a range of iterations, cut into
units that are numbered through. One 64-bit word says which job is on and which units are left:
`epoch << 32 | back << 16 | front`. The caller takes units from the front, workers from the back, by compare-and-swap;
so the same thread tends to work on the same part of memory from job to job, and a thread that took units knows that the
job's fields hold still until it has added them to `done`. What is taken is a part of what is left: large pieces first,
single units in the end, so that nobody waits long for the last one.

The caller works too and waits for units, not for workers: a worker that sleeps costs nothing. Who waits spins for a
while and then sleeps. When another process keeps a processor busy, the system tends to put a worker it wakes on the
caller's processor, where the two take turns and nothing is gained: a worker that finds itself there moves away. And a
caller that waits for a worker pushed aside sleeps in naps, because each time a processor falls idle the system looks
for a thread to run on it.

Only one job is on in a pool. A second caller finds it taken and does its job alone, on its own thread.

Layout of the pool block (bytes): see `FIELDS`; words that different threads write lie in different cache lines.
"""

from collections.abc import Mapping

from graphc_llvm.record import FORKED, FREE, RECORD, TAKEN

FIELDS: Mapping[str, int] = {
    "word": 0,  # epoch << 32 | back << 16 | front
    "done": 128,  # units finished
    "waiting": 136,  # whether the caller sleeps until `done` changes
    "segments": 256,
    "args": 264,
    "scratch": 272,  # heap scratch of thread 0; thread i's is `stride` bytes further on, times i
    "stride": 280,
    "limit": 288,  # threads that may take part in the job
    "spins": 296,  # looks at the word before a worker sleeps
    "patience": 304,  # looks at `done` before the caller sleeps
    "threads": 312,
    "apart": 320,  # whether workers are to keep off the caller's processor
    "missed": 328,  # nanoseconds of work that sleeping workers could have shared
    "cpu": 336,  # the processor the caller was on when it handed out the job; -1: not known
    "wake": 384,  # futex word, counts wake-ups
    "sleepers": 512,
    "stop": 640,
    "owner": 768,  # whether a caller has a job on
}
POOL_BYTES = 896
MAX_UNITS = 60_000  # fit 16 bits

WORTH_NS = 4_000  # work for each further thread
WAKE_NS = 40_000  # work that makes up for waking a thread
NAP_NS = 100_000  # of the caller, between two looks whether the last unit is done
LOOK_NS = 100_000_000  # between two looks at signals

SEGMENT_BYTES = 40  # function, offset into args, iterations, iterations of a unit, units up to and with this segment

EXPORTS = ("gc_parallel", "gc_worker", "gc_wake", "gc_clock", "gc_begin", "gc_end", "gc_wait", "gc_pauses")

_FUTEX = {"x86_64": 202, "aarch64": 98, "arm64": 98, "riscv64": 98}
_FUTEX_WAIT, _FUTEX_WAKE = 128, 129  # the private forms


def runtime_text(machine: str, system: str) -> str:
    """LLVM text of the functions in `EXPORTS` for this machine."""
    futex = _FUTEX.get(machine.lower()) if system == "Linux" else None
    pause = {
        "x86_64": "call void @llvm.x86.sse2.pause()",
        "amd64": "call void @llvm.x86.sse2.pause()",
        "aarch64": 'call void asm sideeffect "yield", ""()',
        "arm64": 'call void asm sideeffect "yield", ""()',
    }.get(machine.lower(), 'call void asm sideeffect "", "~{memory}"()')
    text = _TEXT + (_FUTEX_TEXT if futex is not None else _SLEEP_TEXT)
    constants = {
        "PAUSE": pause,
        "CLOCK": "6" if system == "Darwin" else "1",
        "FUTEX": str(futex),
        "OP_WAIT": str(_FUTEX_WAIT),
        "OP_WAKE": str(_FUTEX_WAKE),
        "SEGMENT": str(SEGMENT_BYTES),
        "WORTH": str(WORTH_NS),
        "WAKE_AFTER": str(WAKE_NS),
        "LOOK": str(LOOK_NS),
        "NAP": str(NAP_NS),
        "FREE": str(FREE),
        "TAKEN": str(TAKEN),
    }
    for name, value in constants.items():
        text = text.replace(f"${name}", value)
    for name, offset in FIELDS.items():
        text = text.replace(f"POOL({name})", f"getelementptr i8, ptr %pool, i64 {offset}")
    for name, offset in RECORD.items():
        text = text.replace(f"RECORD({name})", f"getelementptr i8, ptr %record, i64 {offset}")
    assert FORKED not in (FREE, TAKEN)
    needs = ["declare i32 @clock_gettime(i32, ptr)", "declare i64 @llvm.smin.i64(i64, i64)"]
    needs += ["declare i64 @llvm.smax.i64(i64, i64)"]
    needs += _FUTEX_NEEDS if futex is not None else ["declare i32 @usleep(i32)"]
    if "x86" in pause:
        needs.append("declare void @llvm.x86.sse2.pause()")
    return text + "\n".join(needs) + "\n"


_FUTEX_NEEDS = (
    "declare i64 @syscall(i64, ...)",
    "declare i32 @sched_getcpu()",
    "declare i32 @sched_getaffinity(i32, i64, ptr)",
    "declare i32 @sched_setaffinity(i32, i64, ptr)",
    "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)",
)

# Sleep until a word is no longer `seen`, or somebody wakes, or a signal comes; and wake those who sleep on it.
_FUTEX_TEXT = """
define internal void @sleep_on(ptr %word, i32 %seen) {
entry:
  %slept = call i64 (i64, ...) @syscall(i64 $FUTEX, ptr %word, i32 $OP_WAIT, i32 %seen, ptr null)
  ret void
}

define internal i32 @processor() {
entry:
  %cpu = call i32 @sched_getcpu()
  ret i32 %cpu
}

; Leave the processor `cpu`, on which the caller is, for another one that this thread may use. The thread is bound to
; none: its affinity is what it was when this returns.
define internal void @move_away(i32 %cpu) {
entry:
  %mask = alloca [128 x i8], align 8
  %less = alloca [128 x i8], align 8
  %got = call i32 @sched_getaffinity(i32 0, i64 128, ptr %mask)
  %failed = icmp slt i32 %got, 0
  %beyond = icmp uge i32 %cpu, 1024
  %no = or i1 %failed, %beyond
  br i1 %no, label %leave, label %change
change:
  call void @llvm.memcpy.p0.p0.i64(ptr %less, ptr %mask, i64 128, i1 false)
  %number = zext i32 %cpu to i64
  %index = lshr i64 %number, 6
  %bit = and i64 %number, 63
  %one = shl i64 1, %bit
  %others = xor i64 %one, -1
  %at = getelementptr i64, ptr %less, i64 %index
  %old = load i64, ptr %at, align 8
  %new = and i64 %old, %others
  store i64 %new, ptr %at, align 8
  %moved = call i32 @sched_setaffinity(i32 0, i64 128, ptr %less)
  %back = call i32 @sched_setaffinity(i32 0, i64 128, ptr %mask)
  br label %leave
leave:
  ret void
}

define internal void @nap_on(ptr %word, i32 %seen) {
entry:
  %slept = call i64 (i64, ...) @syscall(i64 $FUTEX, ptr %word, i32 $OP_WAIT, i32 %seen, ptr @nap)
  ret void
}

@nap = internal constant [2 x i64] [i64 0, i64 $NAP]

define internal void @wake_on(ptr %word) {
entry:
  %woken = call i64 (i64, ...) @syscall(i64 $FUTEX, ptr %word, i32 $OP_WAKE, i32 1073741824)
  ret void
}
"""
_SLEEP_TEXT = """
define internal void @sleep_on(ptr %word, i32 %seen) {
entry:
  %slept = call i32 @usleep(i32 100)
  ret void
}

define internal i32 @processor() {
entry:
  ret i32 -1
}

define internal void @move_away(i32 %cpu) {
entry:
  ret void
}

define internal void @nap_on(ptr %word, i32 %seen) {
entry:
  %slept = call i32 @usleep(i32 100)
  ret void
}

define internal void @wake_on(ptr %word) {
entry:
  ret void
}
"""

_TEXT = """
; Run units from..to of a table of segments.
define internal void @run_units(ptr %segments, ptr %args, i64 %from, i64 %to, ptr %scratch) {
entry:
  br label %find
find:
  %segment = phi ptr [ %segments, %entry ], [ %segment.next, %skip ], [ %segment.next, %more ]
  %start = phi i64 [ 0, %entry ], [ %past, %skip ], [ %past, %more ]
  %at = phi i64 [ %from, %entry ], [ %at, %skip ], [ %stop, %more ]
  %past.at = getelementptr i8, ptr %segment, i64 32
  %past = load i64, ptr %past.at, align 8
  %segment.next = getelementptr i8, ptr %segment, i64 $SEGMENT
  %inside = icmp slt i64 %at, %past
  br i1 %inside, label %run, label %skip
skip:
  br label %find
run:
  %function = load ptr, ptr %segment, align 8
  %offset.at = getelementptr i8, ptr %segment, i64 8
  %offset = load i64, ptr %offset.at, align 8
  %extent.at = getelementptr i8, ptr %segment, i64 16
  %extent = load i64, ptr %extent.at, align 8
  %grain.at = getelementptr i8, ptr %segment, i64 24
  %grain = load i64, ptr %grain.at, align 8
  %own = getelementptr i8, ptr %args, i64 %offset
  %stop = call i64 @llvm.smin.i64(i64 %to, i64 %past)
  %first = sub i64 %at, %start
  %begin = mul i64 %first, %grain
  %last = sub i64 %stop, %start
  %ending = mul i64 %last, %grain
  %end = call i64 @llvm.smin.i64(i64 %ending, i64 %extent)
  call void %function(ptr %own, i64 %begin, i64 %end, ptr %scratch)
  %over = icmp sge i64 %stop, %to
  br i1 %over, label %finished, label %more
more:
  br label %find
finished:
  ret void
}

; Take some units of the current job and run them. Returns whether there were any.
define internal i1 @take(ptr %pool, i64 %thread) {
entry:
  %word.at = POOL(word)
  %limit.at = POOL(limit)
  %caller = icmp eq i64 %thread, 0
  br label %look
look:
  %word = load atomic i64, ptr %word.at acquire, align 8
  %front = and i64 %word, 65535
  %shifted = lshr i64 %word, 16
  %back = and i64 %shifted, 65535
  %left = sub i64 %back, %front
  %none = icmp eq i64 %left, 0
  br i1 %none, label %nothing, label %welcome
nothing:
  ret i1 false
welcome:
  %limit = load i64, ptr %limit.at, align 8
  %out = icmp sge i64 %thread, %limit
  br i1 %out, label %nothing, label %try
try:
  %parts = shl i64 %limit, 1
  %share = udiv i64 %left, %parts
  %count = call i64 @llvm.smax.i64(i64 %share, i64 1)
  %ahead = add i64 %word, %count
  %high = shl i64 %count, 16
  %behind = sub i64 %word, %high
  %less = select i1 %caller, i64 %ahead, i64 %behind
  %from.back = sub i64 %back, %count
  %from = select i1 %caller, i64 %front, i64 %from.back
  %swap = cmpxchg ptr %word.at, i64 %word, i64 %less acq_rel acquire
  %won = extractvalue { i64, i1 } %swap, 1
  br i1 %won, label %run, label %look
run:
  %segments.at = POOL(segments)
  %segments = load ptr, ptr %segments.at, align 8
  %args.at = POOL(args)
  %args = load ptr, ptr %args.at, align 8
  %scratch.at = POOL(scratch)
  %base = load ptr, ptr %scratch.at, align 8
  %stride.at = POOL(stride)
  %stride = load i64, ptr %stride.at, align 8
  %own = mul i64 %thread, %stride
  %scratch = getelementptr i8, ptr %base, i64 %own
  %to = add i64 %from, %count
  call void @run_units(ptr %segments, ptr %args, i64 %from, i64 %to, ptr %scratch)
  %done.at = POOL(done)
  %finished = trunc i64 %count to i32
  %before = atomicrmw add ptr %done.at, i32 %finished seq_cst
  br i1 %caller, label %leave, label %tell
tell:
  %waiting.at = POOL(waiting)
  %waiting = load atomic i32, ptr %waiting.at seq_cst, align 4
  %sleeps = icmp ne i32 %waiting, 0
  br i1 %sleeps, label %rouse, label %leave
rouse:
  call void @wake_on(ptr %done.at)
  br label %leave
leave:
  ret i1 true
}

; Look at signals when it is time to. Returns whether to give up.
define internal i1 @interrupted(ptr %record) {
entry:
  %deadline.at = RECORD(deadline)
  %deadline = load i64, ptr %deadline.at, align 8
  %never = icmp eq i64 %deadline, 0
  br i1 %never, label %no, label %time
time:
  %abandon.at = RECORD(abandon)
  %abandon = load i64, ptr %abandon.at, align 8
  %given.up = icmp ne i64 %abandon, 0
  br i1 %given.up, label %yes, label %watch
watch:
  %now = call i64 @gc_clock()
  %early = icmp slt i64 %now, %deadline
  br i1 %early, label %no, label %look
look:
  %next = add i64 %now, $LOOK
  store i64 %next, ptr %deadline.at, align 8
  %state.at = RECORD(thread_state)
  %state = load ptr, ptr %state.at, align 8
  %restore.at = RECORD(restore)
  %restore = load ptr, ptr %restore.at, align 8
  call void %restore(ptr %state)
  %check.at = RECORD(check)
  %check = load ptr, ptr %check.at, align 8
  %raised = call i32 %check()
  %save.at = RECORD(save)
  %save = load ptr, ptr %save.at, align 8
  %state.now = call ptr %save()
  store ptr %state.now, ptr %state.at, align 8
  %clear = icmp eq i32 %raised, 0
  br i1 %clear, label %no, label %give.up
give.up:
  store i64 1, ptr %abandon.at, align 8
  br label %yes
yes:
  ret i1 true
no:
  ret i1 false
}

; Run a job of `units` units and about `ns` nanoseconds, on the caller and on workers. Returns whether it was finished.
define i1 @gc_parallel(ptr %record, ptr %segments, ptr %args, i64 %units, i64 %ns) {
entry:
  %scratch.at = RECORD(scratch)
  %scratch = load ptr, ptr %scratch.at, align 8
  %given.up = call i1 @interrupted(ptr %record)
  br i1 %given.up, label %abandoned, label %look
look:
  %pool.at = RECORD(pool)
  %pool = load ptr, ptr %pool.at, align 8
  %no.pool = icmp eq ptr %pool, null
  br i1 %no.pool, label %alone, label %claim
claim:
  %owner.at = POOL(owner)
  %swap = cmpxchg ptr %owner.at, i32 0, i32 1 acquire monotonic
  %won = extractvalue { i32, i1 } %swap, 1
  br i1 %won, label %publish, label %alone
alone:
  %large = udiv i64 %units, 32
  %piece = call i64 @llvm.smax.i64(i64 %large, i64 1)
  br label %one
one:
  %from = phi i64 [ 0, %alone ], [ %to, %next ]
  %past = add i64 %from, %piece
  %to = call i64 @llvm.smin.i64(i64 %past, i64 %units)
  call void @run_units(ptr %segments, ptr %args, i64 %from, i64 %to, ptr %scratch)
  %last = icmp sge i64 %to, %units
  br i1 %last, label %finished.alone, label %ask
ask:
  %stop = call i1 @interrupted(ptr %record)
  br i1 %stop, label %abandoned, label %next
next:
  br label %one
finished.alone:
  ret i1 true
abandoned:
  ret i1 false
publish:
  %segments.at = POOL(segments)
  store ptr %segments, ptr %segments.at, align 8
  %args.at = POOL(args)
  store ptr %args, ptr %args.at, align 8
  %pool.scratch.at = POOL(scratch)
  store ptr %scratch, ptr %pool.scratch.at, align 8
  %record.stride.at = RECORD(stride)
  %stride = load i64, ptr %record.stride.at, align 8
  %stride.at = POOL(stride)
  store i64 %stride, ptr %stride.at, align 8
  %threads.at = POOL(threads)
  %threads = load i64, ptr %threads.at, align 8
  %worth = udiv i64 %ns, $WORTH
  %some = call i64 @llvm.smax.i64(i64 %worth, i64 2)
  %limit = call i64 @llvm.smin.i64(i64 %some, i64 %threads)
  %limit.at = POOL(limit)
  store i64 %limit, ptr %limit.at, align 8
  %apart.at = POOL(apart)
  %apart = load i64, ptr %apart.at, align 8
  %keep.off = icmp ne i64 %apart, 0
  %here = call i32 @processor()
  %cpu = select i1 %keep.off, i32 %here, i32 -1
  %cpu.at = POOL(cpu)
  store atomic i32 %cpu, ptr %cpu.at monotonic, align 4
  %done.at = POOL(done)
  store atomic i32 0, ptr %done.at monotonic, align 4
  %word.at = POOL(word)
  %old = load atomic i64, ptr %word.at monotonic, align 8
  %old.epoch = and i64 %old, -4294967296
  %epoch = add i64 %old.epoch, 4294967296
  %high = shl i64 %units, 16
  %word = or i64 %epoch, %high
  store atomic i64 %word, ptr %word.at seq_cst, align 8
  %sleepers.at = POOL(sleepers)
  %sleepers = load atomic i32, ptr %sleepers.at seq_cst, align 4
  %spare = sub i64 %threads, %limit
  %too.many = trunc i64 %spare to i32
  %asleep = icmp sgt i32 %sleepers, %too.many
  br i1 %asleep, label %regret, label %work
regret:
  %missed.at = POOL(missed)
  %missed = load i64, ptr %missed.at, align 8
  %total = add i64 %missed, %ns
  %enough = icmp sge i64 %total, $WAKE_AFTER
  %kept = select i1 %enough, i64 0, i64 %total
  store i64 %kept, ptr %missed.at, align 8
  br i1 %enough, label %call.them, label %work
call.them:
  call void @gc_wake(ptr %pool)
  br label %work
work:
  %took = call i1 @take(ptr %pool, i64 0)
  br i1 %took, label %between, label %wait
between:
  %enough.now = call i1 @interrupted(ptr %record)
  br i1 %enough.now, label %drain, label %work
drain:
  %current = load atomic i64, ptr %word.at acquire, align 8
  %front = and i64 %current, 65535
  %shifted = lshr i64 %current, 16
  %back = and i64 %shifted, 65535
  %left = sub i64 %back, %front
  %emptied = add i64 %current, %left
  %drained.swap = cmpxchg ptr %word.at, i64 %current, i64 %emptied acq_rel acquire
  %drained = extractvalue { i64, i1 } %drained.swap, 1
  br i1 %drained, label %wait, label %drain
wait:
  %never = phi i64 [ 0, %work ], [ %left, %drain ]
  %whole = icmp eq i64 %never, 0
  %expected = sub i64 %units, %never
  %need = trunc i64 %expected to i32
  %patience.at = POOL(patience)
  %patience = load i64, ptr %patience.at, align 8
  br label %look.done
look.done:
  %turn = phi i64 [ 0, %wait ], [ %turn.next, %relax ]
  %done = load atomic i32, ptr %done.at acquire, align 4
  %all = icmp eq i32 %done, %need
  br i1 %all, label %finished, label %impatient
impatient:
  %turn.next = add i64 %turn, 1
  %long = icmp sge i64 %turn, %patience
  br i1 %long, label %doze, label %relax
relax:
  $PAUSE
  br label %look.done
doze:
  %waiting.at = POOL(waiting)
  store atomic i32 1, ptr %waiting.at seq_cst, align 4
  br label %sleep
sleep:
  %now.done = load atomic i32, ptr %done.at seq_cst, align 4
  %complete = icmp eq i32 %now.done, %need
  br i1 %complete, label %up, label %down
down:
  call void @nap_on(ptr %done.at, i32 %now.done)
  br label %sleep
up:
  store atomic i32 0, ptr %waiting.at monotonic, align 4
  br label %finished
finished:
  store atomic i32 0, ptr %owner.at release, align 4
  ret i1 %whole
}

; Wake every sleeping worker.
define void @gc_wake(ptr %pool) {
entry:
  %wake.at = POOL(wake)
  %count = atomicrmw add ptr %wake.at, i32 1 seq_cst
  call void @wake_on(ptr %wake.at)
  ret void
}

; What a worker thread does until the pool is stopped.
define void @gc_worker(ptr %pool, i64 %thread) {
entry:
  %spins.at = POOL(spins)
  %spins = load i64, ptr %spins.at, align 8
  %stop.at = POOL(stop)
  %wake.at = POOL(wake)
  %word.at = POOL(word)
  %sleepers.at = POOL(sleepers)
  %cpu.at = POOL(cpu)
  br label %fresh
fresh:
  %mine = call i32 @processor()
  %cpu = load atomic i32, ptr %cpu.at monotonic, align 4
  %shared = icmp eq i32 %mine, %cpu
  br i1 %shared, label %together, label %apart
together:
  %known = icmp sge i32 %cpu, 0
  br i1 %known, label %move, label %apart
move:
  store atomic i32 -1, ptr %cpu.at monotonic, align 4
  call void @move_away(i32 %cpu)
  br label %apart
apart:
  br label %look
look:
  %turn = phi i64 [ 0, %apart ], [ %turn.next, %relax ]
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
  $PAUSE
  br label %look
park:
  %in = atomicrmw add ptr %sleepers.at, i32 1 seq_cst
  %seen = load atomic i32, ptr %wake.at seq_cst, align 4
  %word = load atomic i64, ptr %word.at seq_cst, align 8
  %front = and i64 %word, 65535
  %shifted = lshr i64 %word, 16
  %back = and i64 %shifted, 65535
  %idle.still = icmp eq i64 %front, %back
  %stop.now = load atomic i32, ptr %stop.at seq_cst, align 4
  %going = icmp eq i32 %stop.now, 0
  %sleep.now = and i1 %idle.still, %going
  br i1 %sleep.now, label %sleep, label %up
sleep:
  call void @sleep_on(ptr %wake.at, i32 %seen)
  br label %up
up:
  %out = atomicrmw sub ptr %sleepers.at, i32 1 seq_cst
  br label %fresh
leave:
  ret void
}

; Take the record for a call. Returns whether it was free. `long`: the interpreter's lock is given up meanwhile.
; `interruptible`: signals are looked at meanwhile.
define i1 @gc_begin(ptr %record, i1 %long, i1 %interruptible) {
entry:
  %busy.at = RECORD(busy)
  %swap = cmpxchg ptr %busy.at, i32 $FREE, i32 $TAKEN acquire monotonic
  %won = extractvalue { i32, i1 } %swap, 1
  br i1 %won, label %ours, label %theirs
theirs:
  ret i1 false
ours:
  br i1 %long, label %release, label %ready
release:
  %save.at = RECORD(save)
  %save = load ptr, ptr %save.at, align 8
  %state = call ptr %save()
  %state.at = RECORD(thread_state)
  store ptr %state, ptr %state.at, align 8
  br i1 %interruptible, label %watch, label %ready
watch:
  %ident.at = RECORD(ident)
  %ident = load ptr, ptr %ident.at, align 8
  %self = call i64 %ident()
  %owner.at = RECORD(owner)
  store atomic i64 %self, ptr %owner.at monotonic, align 8
  %now = call i64 @gc_clock()
  %deadline = add i64 %now, $LOOK
  %deadline.at = RECORD(deadline)
  store i64 %deadline, ptr %deadline.at, align 8
  br label %ready
ready:
  ret i1 true
}

; Give the record back after a call.
define void @gc_end(ptr %record) {
entry:
  %owner.at = RECORD(owner)
  store atomic i64 0, ptr %owner.at monotonic, align 8
  %deadline.at = RECORD(deadline)
  store i64 0, ptr %deadline.at, align 8
  %abandon.at = RECORD(abandon)
  store i64 0, ptr %abandon.at, align 8
  %state.at = RECORD(thread_state)
  %state = load ptr, ptr %state.at, align 8
  store ptr null, ptr %state.at, align 8
  %busy.at = RECORD(busy)
  store atomic i32 $FREE, ptr %busy.at seq_cst, align 4
  %waiters.at = RECORD(waiters)
  %waiters = load atomic i32, ptr %waiters.at seq_cst, align 4
  %nobody = icmp eq i32 %waiters, 0
  br i1 %nobody, label %lock, label %tell
tell:
  call void @wake_on(ptr %busy.at)
  br label %lock
lock:
  %held = icmp eq ptr %state, null
  br i1 %held, label %leave, label %restore
restore:
  %restore.at = RECORD(restore)
  %restore.to = load ptr, ptr %restore.at, align 8
  call void %restore.to(ptr %state)
  br label %leave
leave:
  ret void
}

; Sleep while somebody else has the record, or until a signal comes. Returns 1 at once when this very thread has it.
define i64 @gc_wait(ptr %record) {
entry:
  %ident.at = RECORD(ident)
  %ident = load ptr, ptr %ident.at, align 8
  %self = call i64 %ident()
  %owner.at = RECORD(owner)
  %owner = load atomic i64, ptr %owner.at monotonic, align 8
  %ours = icmp eq i64 %owner, %self
  br i1 %ours, label %mine, label %enter
mine:
  ret i64 1
enter:
  %busy.at = RECORD(busy)
  %waiters.at = RECORD(waiters)
  %in = atomicrmw add ptr %waiters.at, i32 1 seq_cst
  %busy = load atomic i32, ptr %busy.at seq_cst, align 4
  %taken = icmp eq i32 %busy, $TAKEN
  br i1 %taken, label %sleep, label %up
sleep:
  call void @sleep_on(ptr %busy.at, i32 $TAKEN)
  br label %up
up:
  %out = atomicrmw sub ptr %waiters.at, i32 1 seq_cst
  ret i64 0
}

; Nanoseconds of a clock that never goes back.
define i64 @gc_clock() {
entry:
  %time = alloca [2 x i64], align 8
  %status = call i32 @clock_gettime(i32 $CLOCK, ptr %time)
  %seconds = load i64, ptr %time, align 8
  %rest.at = getelementptr i64, ptr %time, i64 1
  %rest = load i64, ptr %rest.at, align 8
  %whole = mul i64 %seconds, 1000000000
  %now = add i64 %whole, %rest
  ret i64 %now
}

; Nanoseconds that `count` pauses take.
define i64 @gc_pauses(i64 %count) {
entry:
  %begin = call i64 @gc_clock()
  br label %turn
turn:
  %k = phi i64 [ 0, %entry ], [ %k.next, %turn ]
  $PAUSE
  %k.next = add i64 %k, 1
  %more = icmp slt i64 %k.next, %count
  br i1 %more, label %turn, label %finished
finished:
  %end = call i64 @gc_clock()
  %took = sub i64 %end, %begin
  ret i64 %took
}
"""
