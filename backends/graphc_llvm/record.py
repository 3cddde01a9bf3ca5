"""The record: what native code knows of one loaded program, as int64 words that `driver` and `turns_code` read."""

from collections.abc import Mapping

_WORDS = (
    *("arena", "state", "constants", "step"),  # addresses of the segments
    *("inputs", "outputs"),  # addresses of tables of addresses, of the call or run under way
    *("own_inputs", "own_outputs"),  # such tables that belong to the record; calls use them
    *("pool", "scratch", "stride"),  # the thread pool; heap scratch of thread 0 and how far the next thread's is
    *("parallel", "clock", "begin", "end", "interrupted"),  # functions of the runtime
    *("busy", "waiters"),  # 0: free, 1: somebody runs, 2: forked, to be renewed; threads that wait for it
    *("deadline", "abandon"),  # when to look at signals next, 0: never; whether one asked to give up
    *("thread_state", "save", "restore", "check", "ident"),  # who gave up the interpreter's lock, and its functions
    "array_type",  # the address of NumPy's type of arrays
    "owner",  # the thread that is busy and may run handlers of signals meanwhile
    "stamps",  # what the timed version writes: see `driver.Stamps`
)
RECORD: Mapping[str, int] = {name: 8 * word for word, name in enumerate(_WORDS)}
RECORD_WORDS = 32
FREE, TAKEN, FORKED = 0, 1, 2  # of `busy`
EXCEEDED = -16  # less the number of a loop: what a call returns when it would not end within its bound
IS_BUSY = -1  # what a call returns when somebody else runs on this record
