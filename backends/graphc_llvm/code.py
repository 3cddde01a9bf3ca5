"""What is left of a plan once it is compiled: object code and the names in it. It goes to the disk and comes back."""

import hashlib
import json
from collections.abc import Mapping

from graphc.core.records import dataclass

_LENGTH = 8  # bytes of the length of the description


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
        """One block: the length of a JSON description, the description, the objects."""
        description = json.dumps(
            {
                "objects": [len(code) for code in self.objects],
                "runs": dict(self.runs),
                "calls": dict(self.calls),
                "scratch_bytes": self.scratch_bytes,
                "text_digest": self.text_digest,
            }
        ).encode()
        return b"".join([len(description).to_bytes(_LENGTH, "little"), description, *self.objects])

    @staticmethod
    def from_bytes(block: bytes) -> "Code":
        """What `to_bytes` wrote."""
        start = _LENGTH + int.from_bytes(block[:_LENGTH], "little")
        description = json.loads(block[_LENGTH:start])
        objects = []
        for length in description["objects"]:
            objects.append(block[start : start + length])
            start += length
        return Code(
            tuple(objects),
            description["runs"],
            description["calls"],
            description["scratch_bytes"],
            description["text_digest"],
        )


def text_digest(text: str) -> str:
    """The digest of a module's text."""
    return hashlib.sha256(text.encode()).hexdigest()
