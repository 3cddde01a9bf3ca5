"""What is left of a plan once it is compiled: machine code and what to queue. It goes to the disk and comes back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from graphc.core.dtypes import dtype
from graphc.core.errors import BackendError
from graphc.plan.ir import Ref
from graphc.runtime.blocks import from_block, to_block
from graphc_cupy.products import Matmul, Matrix
from graphc_cupy.program import Choice, Item, Loop, Move, Multiply, Program, Queued, Row, Run


@dataclass(frozen=True, slots=True)
class Code:
    """`binary`: what a device loads. `shared_bytes`: of every function. `entries`: what one step of each queues."""

    binary: bytes
    shared_bytes: Mapping[str, int]
    entries: Mapping[str, tuple[Item, ...]]

    @staticmethod
    def of(program: Program, binary: bytes) -> "Code":
        """A program, and what it was compiled to."""
        return Code(binary, program.shared_bytes, program.entries)

    def to_bytes(self) -> bytes:
        """One block of a description and the machine code."""
        refs = _Refs([], {})
        entries = {name: [_item(item, refs) for item in items] for name, items in self.entries.items()}
        description = {
            "shared_bytes": dict(self.shared_bytes),
            "entries": entries,
            "refs": [asdict(ref) for ref in refs.found],
        }
        return to_block(description, [self.binary])

    @staticmethod
    def from_bytes(block: bytes) -> "Code":
        """What `to_bytes` wrote. Raises `BackendError` for anything else."""
        try:
            written, (binary,) = from_block(block)
            refs = [Ref(**{**each, "strides": tuple(each["strides"])}) for each in written["refs"]]
            entries = {name: _read_items(items, refs) for name, items in written["entries"].items()}
            return Code(binary, written["shared_bytes"], entries)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise BackendError(f"gpu backend: saved code cannot be read: {error}") from error


@dataclass(slots=True)
class _Refs:
    """Addresses, each once: kernels share most of theirs."""

    found: list[Ref]
    numbers: dict[Ref, int]

    def number(self, ref: Ref) -> int:
        if ref not in self.numbers:
            self.numbers[ref] = len(self.found)
            self.found.append(ref)
        return self.numbers[ref]


def _item(item: Item, refs: _Refs) -> list[object] | dict[str, object]:
    """A row is a list, anything else names its fields."""

    def block(items: Sequence[Item]) -> list[object]:
        return [_item(each, refs) for each in items]

    def place(ref: Ref | None) -> int | None:
        return None if ref is None else refs.number(ref)

    match item:
        case Row(_, queued):
            return [_written(each, refs) for each in queued]
        case Loop(count, body, limit, last, cond, flag, made, number):
            blocks = {"body": block(body), "cond": block(cond)}
            places = {"limit": place(limit), "flag": place(flag), "made": place(made)}
            return {"count": count, "last": last, "number": number, **blocks, **places}
        case Choice(index, blocks):
            return {"index": place(index), "blocks": [block(each) for each in blocks]}


def _read_items(items: Sequence[Any], refs: list[Ref]) -> tuple[Item, ...]:
    return tuple(_read_item(item, refs) for item in items)


def _read_item(item: Any, refs: list[Ref]) -> Item:
    if isinstance(item, list):
        return Row(None, tuple(_read(each, refs) for each in item))
    if "blocks" in item:
        return Choice(refs[item["index"]], tuple(_read_items(block, refs) for block in item["blocks"]))
    body, cond = (_read_items(item[name], refs) for name in ("body", "cond"))
    limit, flag, made = (None if item[name] is None else refs[item[name]] for name in ("limit", "flag", "made"))
    return Loop(item["count"], body, limit, item["last"], cond, flag, made, item["number"])


def _written(queued: Queued, refs: _Refs) -> list[object]:
    match queued:
        case Run(function, blocks, threads, shared_bytes, args):
            return [function, blocks, threads, shared_bytes, [refs.number(ref) for ref in args]]
        case Move(source, target):
            return [refs.number(source), refs.number(target)]
        case Multiply(matmul, args, offsets):
            return [_matmul(matmul), [refs.number(ref) for ref in args], list(offsets)]


def _read(written: list[object], refs: list[Ref]) -> Queued:
    match written:
        case [str(function), int(blocks), int(threads), int(shared_bytes), list(args)]:
            return Run(function, blocks, threads, shared_bytes, tuple(refs[k] for k in args))
        case [int(source), int(target)]:
            return Move(refs[source], refs[target])
        case [dict(matmul), list(args), [int(left), int(right), int(result)]]:
            return Multiply(_read_matmul(matmul), tuple(refs[k] for k in args), (left, right, result))
    raise ValueError(f"{written} is nothing to queue")


def _matmul(matmul: Matmul) -> dict[str, object]:
    matrices = {name: getattr(matmul, name) for name in ("left", "right", "result")}
    written = {
        name: [m.rows, m.columns, m.leading, m.batch, m.dtype.name, m.is_transposed] for name, m in matrices.items()
    }
    return {**written, "depth": matmul.depth, "count": matmul.count, "compute": matmul.compute}


def _read_matmul(written: Mapping[str, Any]) -> Matmul:
    def matrix(numbers: Sequence[Any]) -> Matrix:
        rows, columns, leading, batch, name, is_transposed = numbers
        return Matrix(rows, columns, leading, batch, dtype(name), is_transposed)

    left, right, result = (matrix(written[name]) for name in ("left", "right", "result"))
    return Matmul(left, right, result, written["depth"], written["count"], written["compute"])
