"""Native code that takes units of a job and runs them.

A *job* is a table of segments that do not depend on each other, each a function over a range of iterations, cut into
units that are numbered through. One 64-bit word says which job is on and which units are left:
`epoch << 32 | back << 16 | front`. The caller takes units from the front, workers from the back, by compare-and-swap;
so the same thread tends to work on the same part of memory from job to job, and a thread that took units knows that the
job's fields hold still until it has added them to `done`. What is taken is a part of what is left: large pieces first,
single units in the end, so that nobody waits long for the last one.
"""

MAX_UNITS = 60_000  # fit 16 bits
SEGMENT_BYTES = 40  # function, offset into args, iterations, iterations of a unit, units up to and with this segment

UNITS_TEXT = """
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

"""
