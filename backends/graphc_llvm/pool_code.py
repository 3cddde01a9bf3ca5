"""Native code that shares a job (`units_code`) among the caller and the workers of a pool.

The caller works too and waits for units, not for workers: a worker that sleeps costs nothing. Who waits spins for a
while and then sleeps. When another process keeps a processor busy, the system tends to put a worker it wakes on the
caller's processor, where the two take turns and nothing is gained: a worker that finds itself there moves away. And a
caller that waits for a worker pushed aside sleeps in naps, because each time a processor falls idle the system looks
for a thread to run on it.

Only one job is on in a pool. A second caller finds it taken and does its job alone, on its own thread.

Layout of the pool block (bytes): see `FIELDS`; words that different threads write lie in different cache lines.
"""

from collections.abc import Mapping

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

WORTH_NS = 4_000  # work for each further thread
WAKE_NS = 40_000  # work that makes up for waking a thread

PARALLEL_TEXT = """\
; Run a job of `units` units and about `ns` nanoseconds, on the caller and on workers. Returns whether it was finished.
define i1 @gc_parallel(ptr %record, ptr %segments, ptr %args, i64 %units, i64 %ns) {
entry:
  %scratch.at = RECORD(scratch)
  %scratch = load ptr, ptr %scratch.at, align 8
  %given.up = call i1 @gc_interrupted(ptr %record)
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
  %stop = call i1 @gc_interrupted(ptr %record)
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
  %enough.now = call i1 @gc_interrupted(ptr %record)
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

"""

WORKER_TEXT = """\
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

"""
