"""Native code that asks the system: sleeping on a word, waking, processors, the clock.

With futexes on Linux; elsewhere who waits sleeps for a moment and looks again, and nobody moves between processors.
"""

NAP_NS = 100_000  # of the caller, between two looks whether the last unit is done

FUTEX = {"x86_64": 202, "aarch64": 98, "arm64": 98, "riscv64": 98}  # the number of the system call
FUTEX_WAIT, FUTEX_WAKE = 128, 129  # the private forms

FUTEX_NEEDS = (
    "declare i64 @syscall(i64, ...)",
    "declare i32 @sched_getcpu()",
    "declare i32 @sched_getaffinity(i32, i64, ptr)",
    "declare i32 @sched_setaffinity(i32, i64, ptr)",
    "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)",
)

# Sleep until a word is no longer `seen`, or somebody wakes, or a signal comes; and wake those who sleep on it.
FUTEX_TEXT = """
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
SLEEP_NEEDS = ("declare i32 @usleep(i32)",)

SLEEP_TEXT = """
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

CLOCK_TEXT = """\
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
