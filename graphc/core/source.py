"""Source locations: which line of the user's program a value comes from.

`here()` walks up the Python stack to the first frame outside graphc. A location survives differentiation and
every pass; `role` says what became of it ("gradient of", "tangent of").
"""

import os
import sys
from contextvars import ContextVar
from dataclasses import field, replace
from types import FrameType

from graphc.core.records import dataclass

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


@dataclass(frozen=True, slots=True, eq=False)
class Composite:
    """One operation of the user's that is computed as several: `op` is its name. What they make on the way may be
    infinite or NaN where the result is not.
    """

    op: str


@dataclass(frozen=True, slots=True)
class Loc:
    """One line of a user's file. `file` is the path Python knows, shown by its last component. `composite`: of what it
    is a part.
    """

    file: str
    line: int
    function: str = ""
    role: str = ""
    composite: Composite | None = field(default=None, compare=False)

    def __str__(self) -> str:
        place = f"{os.path.basename(self.file)}:{self.line}"
        return f"{self.role} {place}" if self.role else place

    def with_role(self, role: str) -> "Loc":
        """The same line in another role; the outermost role is kept when one is there already."""
        return self if self.role else replace(self, role=role)

    def part_of(self, composite: Composite) -> "Loc":
        """The same line, for a part of the operation there."""
        return self if self is UNKNOWN else replace(self, composite=composite)


UNKNOWN = Loc("<unknown>", 0)

_own_folders: tuple[str, ...] = (_PACKAGE, "<frozen")
_own_files: dict[str, bool] = {}  # whether code of a file is graphc's own; every node of every trace asks


_AT: ContextVar[tuple[tuple[FrameType, Loc], ...]] = ContextVar("graphc_source", default=())


def adopt(folder: str) -> None:
    """From now on code in that folder counts as graphc's own: a frontend's, whose user wrote the file it reads.

    >>> adopt("/opt/graphc_frontend")
    """
    global _own_folders
    _own_folders = tuple(dict.fromkeys((*_own_folders, os.path.join(folder, ""))))
    _own_files.clear()


class at:
    """`with at(loc):` what graphc's own code computes inside counts as made at `loc`.

    User code that is called inside still counts as itself: `here()` meets its frame first. for library code that acts
    on behalf of a line the stack does not show, as `nn.Sequential` does for the line that made a layer.
    """

    def __init__(self, loc: Loc) -> None:
        self.loc = loc

    def __enter__(self) -> None:
        self._token = _AT.set((*_AT.get(), (sys._getframe(1), self.loc)))

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        _AT.reset(self._token)


def here() -> Loc:
    """The innermost frame of the current call stack that is not graphc's own code.

    Code of the `graphc` package itself (and of frontends) is skipped, up to the frame that said `at(loc)`, if one did.
    When everything on the stack is graphc's own (its command line running a built-in demo, say) the location is
    `UNKNOWN`.
    """
    declared = dict(_AT.get())
    own = _own_files
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if declared and frame in declared:
            return declared[frame]
        file = frame.f_code.co_filename
        if file not in own:
            own[file] = file.startswith(_own_folders)
        if not own[file]:
            return Loc(file, frame.f_lineno, frame.f_code.co_name)
        frame = frame.f_back
    return UNKNOWN
