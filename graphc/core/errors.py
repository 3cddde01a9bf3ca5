"""Every error graphc raises on purpose.

Each class also derives from the built-in exception a NumPy or PyTorch user would expect, so that existing
`except ValueError` code keeps working. Messages name the operation, the types and the user's line.
"""


class GraphcError(Exception):
    """Base of every error graphc raises on purpose."""


class ShapeError(GraphcError, ValueError):
    """Shapes do not fit the operation."""


class DTypeError(GraphcError, TypeError):
    """A dtype is not accepted by the operation."""


class ArgumentError(GraphcError, ValueError):
    """An argument of a public function has a value that makes no sense."""


class TraceError(GraphcError, TypeError):
    """Python code did something with a traced value that a static graph cannot hold."""


class LeakedTracerError(TraceError):
    """A traced value outlived the trace it belongs to."""


class UnsupportedError(GraphcError, NotImplementedError):
    """The operation exists but not here (backend, dtype, transformation); the message names op and line."""


class GradientError(GraphcError, ValueError):
    """Differentiation was asked of something that has no derivative, or a gradient check failed."""


class BoundError(GraphcError, RuntimeError):
    """A loop did not end within the bound it declares."""


class VerifyError(GraphcError, ValueError):
    """An IR breaks one of its invariants: always a bug in graphc or in hand-written IR."""


class ScheduleError(GraphcError, ValueError):
    """A schedule step that would change what a kernel computes, or does not apply to the loop it was given."""


class ParseError(GraphcError, ValueError):
    """IR text that cannot be read."""


class MemoryBudgetError(GraphcError, MemoryError):
    """The planned peak is above the memory the caller allows."""


class BackendError(GraphcError, RuntimeError):
    """An unknown or unusable backend."""


class CheckpointError(GraphcError, ValueError):
    """A checkpoint that is truncated, foreign or does not fit the program."""


class DataError(GraphcError, ValueError):
    """Training data that cannot be used: empty, mismatched or with labels out of range."""


class CopyWarning(UserWarning):
    """A large argument is copied at every call, because it does not lie in memory as compiled code reads it."""
