"""What is left of a plan once it is compiled: object code and the names in it. It goes to the disk and comes back."""

import hashlib
from collections.abc import Mapping

from graphc.core.errors import BackendError
from graphc.core.records import dataclass
from graphc.runtime.blocks import from_block, to_block


@dataclass(frozen=True, slots=True)
class Code:
    """Machine code of a plan. `runs` and `calls` map entry names to functions.

    text_digest: of the text the code was made from, so that a text made again can be known to be the same.
    """

    objects: tuple[bytes, ...]
    runs: Mapping[str, str]
    calls: Mapping[str, str]
    scratch_bytes: int
    text_digest: str

    @property
    def exports(self) -> list[str]:
        """Every function that is called from Python."""
        return [*self.runs.values(), *self.calls.values()]

    def to_bytes(self) -> bytes:
        """One block of a description and the objects."""
        description = {
            "runs": dict(self.runs),
            "calls": dict(self.calls),
            "scratch_bytes": self.scratch_bytes,
            "text_digest": self.text_digest,
        }
        return to_block(description, self.objects)

    @staticmethod
    def from_bytes(block: bytes) -> "Code":
        """What `to_bytes` wrote. Raises `BackendError` for anything else."""
        try:
            description, objects = from_block(block)
            return Code(tuple(objects), **description)
        except (ValueError, TypeError) as error:
            raise BackendError(f"cpu backend: saved code cannot be read: {error}") from error


def text_digest(text: str) -> str:
    """The digest of a module's text."""
    return hashlib.sha256(text.encode()).hexdigest()
