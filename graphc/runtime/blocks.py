"""A description and the bytes it describes, as one block to keep on disk: JSON and bytes, so nothing is unpickled.

>>> from_block(to_block({"name": "x"}, [b"abc", b""]))
({'name': 'x'}, [b'abc', b''])
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

_LENGTH = 8  # bytes of the length of the JSON text


def to_block(description: Mapping[str, object], parts: Sequence[bytes]) -> bytes:
    """The length of the JSON text, the text, and the parts one after the other."""
    written = {"description": description, "parts": [len(part) for part in parts]}
    text = json.dumps(written, default=int).encode()
    return b"".join([len(text).to_bytes(_LENGTH, "little"), text, *parts])


def from_block(block: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """What `to_block` was given. Raises `ValueError` for anything else."""
    start = _LENGTH + int.from_bytes(block[:_LENGTH], "little")
    written = json.loads(block[_LENGTH:start])
    if not isinstance(written, dict) or written.keys() != {"description", "parts"}:
        raise ValueError("it is something else")
    parts = []
    for length in written["parts"]:
        parts.append(block[start : start + length])
        start += length
    if start != len(block):
        raise ValueError("it is not whole")
    return written["description"], parts
