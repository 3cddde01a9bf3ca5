"""Native code for whose turn it is on a record, and for signals that come meanwhile.

A call takes the record, and waits asleep while another thread has it. A long one gives up the interpreter's lock, and
looks at signals between pieces of work: when a handler raises, the call is given up.
"""

LOOK_NS = 100_000_000  # between two looks at signals

INTERRUPTED_TEXT = """\
; Look at signals when it is time to. Returns whether to give up.
define i1 @gc_interrupted(ptr %record) {
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

"""

TURNS_TEXT = """\
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

"""
