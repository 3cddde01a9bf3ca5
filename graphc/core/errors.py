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


class SanitizeError(GraphcError):
    """A program compiled with `sanitize=True` made a NaN or infinity, or used an index that lies outside.

    step: the number of the step; the state is as it was before that step. op, source, function: what did it and the
    line it comes from ("train.py:31"), is_backward: whether it is part of a derivative. element: where in the tensor,
    or in the argument called `argument`. iterations: of the loops around it, outermost first. What is not known or
    does not apply is None or empty.
    """

    def __init__(
        self,
        message: str,
        *,
        step: int = 0,
        op: str = "",
        source: str = "",
        is_backward: bool = False,
        element: tuple[int, ...] | None = None,
        argument: str = "",
        iterations: tuple[int, ...] = (),
    ) -> None:
        super().__init__(message)
        self.step = step
        self.op = op
        self.source = source
        self.is_backward = is_backward
        self.element = element
        self.argument = argument
        self.iterations = iterations


class NonFiniteError(SanitizeError, FloatingPointError):
    """An operation made a NaN or infinity, or an argument holds NaN."""


class IndexRangeError(SanitizeError, IndexError):
    """An index lies outside of what it indexes."""


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
