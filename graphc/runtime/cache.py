"""Compiled programs and object code on disk, addressed by what they were made from.

A file holds a magic word, the SHA-256 of the payload, and the payload. It is written aside and renamed, so a reader
never sees half of one; a damaged file is a miss and is removed. When the folder cannot be used the cache warns once and
does nothing more. The folder is kept below a size bound by removing what was used longest ago; looking through it is
rare, because what was added since the last time is noted in a file.
"""

import hashlib
import os
import tempfile
import warnings
from pathlib import Path

from graphc.core import config
from graphc.core.records import dataclass

_MAGIC = b"graphc-object-1\n"
_DIGEST = hashlib.sha256().digest_size
_BLOCK = 1024  # sizes are counted in blocks of so many bytes
_ADDED = ".added"  # a byte for every block that was put since the folder was last looked through
DEFAULT_BOUND = 256 * 1024 * 1024  # bytes

_warned: set[str] = set()


@dataclass(frozen=True, slots=True)
class ObjectCache:
    """A folder of objects; `folder` None turns it off."""

    folder: Path | None
    bound: int = DEFAULT_BOUND

    @staticmethod
    def default() -> "ObjectCache":
        """The cache the environment asks for (`GRAPHC_CACHE`)."""
        base = config.cache_folder()
        return ObjectCache(None if base is None else base / "objects")

    @staticmethod
    def key(*parts: str) -> str:
        """The name of an object made from exactly these texts."""
        digest = hashlib.sha256()
        for part in parts:
            data = part.encode()
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
        return digest.hexdigest()

    def get(self, key: str) -> bytes | None:
        """The object, or None when it is not there or damaged."""
        if self.folder is None:
            return None
        path = self.folder / key
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._complain(error)
            return None
        payload = data[len(_MAGIC) + _DIGEST :]
        if data[: len(_MAGIC) + _DIGEST] != _MAGIC + hashlib.sha256(payload).digest():
            warnings.warn(f"graphc: damaged object in the cache, compiling again: {path}", RuntimeWarning, stacklevel=2)
            self._remove(path)
            return None
        self._touch(path)
        return payload

    def put(self, key: str, payload: bytes) -> None:
        """Keep an object, unless it is so large that it would push out most others."""
        if self.folder is None or len(payload) > self.bound // 4:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # what lies here is executed
        except OSError as error:
            self._complain(error)
            return
        try:
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_MAGIC + hashlib.sha256(payload).digest() + payload)
                os.replace(name, self.folder / key)
            except BaseException:
                self._remove(Path(name))
                raise
            if self._too_much(len(_MAGIC) + _DIGEST + len(payload)):
                self._evict(keep=key)
        except FileNotFoundError:
            return  # another process is clearing the folder
        except OSError as error:
            self._complain(error)

    def _too_much(self, size: int) -> bool:
        """Note what is added; whether so much came since the folder was last looked through that it may be too full."""
        assert self.folder is not None
        with (self.folder / _ADDED).open("ab", buffering=0) as file:  # every process appends
            before = file.tell()
            file.write(bytes(_blocks(size)))
            after = file.tell()
        return before == 0 or after * _BLOCK > self.bound // 8

    def _evict(self, keep: str) -> None:
        """Look through the folder and leave room for as much as is added before the next time."""
        assert self.folder is not None
        found = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                try:
                    status = entry.stat()
                except FileNotFoundError:
                    continue  # another process evicted it
                if entry.name != _ADDED:
                    found.append((status.st_mtime_ns, _blocks(status.st_size) * _BLOCK, entry.name))
        (self.folder / _ADDED).write_bytes(b"0")
        total = sum(size for _, size, _ in found)
        for _, size, name in sorted(found):
            if total <= self.bound - self.bound // 8:
                return
            if name != keep:
                self._remove(self.folder / name)
                total -= size

    @staticmethod
    def _remove(path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            return  # read-only folder: the object stays, and is rejected again next time

    @staticmethod
    def _touch(path: Path) -> None:
        try:
            os.utime(path)
        except OSError:
            return  # read-only folder: eviction is somebody else's then

    def _complain(self, error: OSError) -> None:
        folder = str(self.folder)
        if folder not in _warned:
            _warned.add(folder)
            warnings.warn(f"graphc: compiled code is not kept, {folder}: {error}", RuntimeWarning, stacklevel=3)


def _blocks(size: int) -> int:
    return -(-size // _BLOCK)
