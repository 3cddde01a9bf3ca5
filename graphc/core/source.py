"""Source locations: which line of the user's program a value comes from.

`here()` walks up the Python stack to the first frame outside graphc. A location survives differentiation and
every pass; `role` says what became of it ("gradient of", "tangent of").
"""

import os
import sys
from dataclasses import dataclass, replace
from types import FrameType

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


@dataclass(frozen=True, slots=True)
class Loc:
    """One line of a user's file. `file` is the path Python knows, shown by its last component."""

    file: str
    line: int
    function: str = ""
    role: str = ""

    def __str__(self) -> str:
        place = f"{os.path.basename(self.file)}:{self.line}"
        return f"{self.role} {place}" if self.role else place

    def with_role(self, role: str) -> "Loc":
        """The same line in another role; the outermost role is kept when one is there already."""
        return self if self.role else replace(self, role=role)


UNKNOWN = Loc("<unknown>", 0)


def here() -> Loc:
    """The innermost frame of the current call stack that is not graphc's own code.

    Code of the `graphc` package itself is skipped; when everything on the stack is graphc's own (its command line
    running a built-in demo, say) the location is `UNKNOWN`.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_PACKAGE) and not file.startswith("<frozen"):
            return Loc(file, frame.f_lineno, frame.f_code.co_name)
        frame = frame.f_back
    return UNKNOWN
