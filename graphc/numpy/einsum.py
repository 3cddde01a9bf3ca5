"""`einsum`: sums of products by index letters, as transposes and contractions of two operands at a time."""

from collections.abc import Sequence

from graphc.core.errors import ArgumentError, ShapeError
from graphc.core.records import dataclass
from graphc.graph.ops import elementwise as ops
from graphc.tracing.array import movement, reduction
from graphc.tracing.array.contraction import contract
from graphc.tracing.bind import bind1, dtype_of, promoted
from graphc.tracing.context import Array, ArrayLike, with_line

# Dims that an ellipsis stands for get these letters, counted from the right; no index letter looks like them.
_ELLIPSIS = tuple(chr(0x2460 + i) for i in range(20))


@dataclass(frozen=True, slots=True)
class _Term:
    """An array and the letter of each of its dims."""

    array: Array
    letters: str


def einsum(subscripts: str, *operands: ArrayLike) -> Array:
    """Einstein summation, "ij,jk->ik": letters not in the result are summed over; "..." stands for leading dims.

    Several operands are contracted from left to right.

    >>> import graphc.numpy as gnp
    >>> gnp.einsum("ij,kj->ik", [[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]).tolist()
    [[11.0, 17.0]]
    """
    inputs, result = _parsed(subscripts, len(operands))
    arrays = promoted("einsum", operands)
    terms = [_term(subscripts, letters, array) for letters, array in zip(inputs, arrays, strict=True)]
    extents = _extents(subscripts, terms)
    output = _output(inputs, result, terms)
    if set(output) - set(extents):
        raise ArgumentError(with_line(f"einsum: {subscripts!r} has a result letter that no operand has"))
    terms = [_without_repeats(term) for term in terms]
    terms = [_widened(term, extents, terms) for term in terms]
    joined = _alone(terms[0], "".join(t.letters for t in terms[1:]) + output)
    for position, term in enumerate(terms[1:], 1):
        later = "".join(t.letters for t in terms[position + 1 :]) + output
        joined = _pair(joined, _alone(term, joined.letters + later), later)
    return movement.transpose(joined.array, [joined.letters.index(letter) for letter in output])


def _parsed(subscripts: str, count: int) -> tuple[list[str], str | None]:
    if not isinstance(subscripts, str):
        raise ArgumentError(with_line(f"einsum: takes subscripts first, as 'ij,jk->ik', got {subscripts!r:.60}"))
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    inputs = left.split(",")
    if len(inputs) != count:
        raise ArgumentError(with_line(f"einsum: {subscripts!r} names {len(inputs)} operands, got {count}"))
    for part in (*inputs, right):
        letters = part.replace("...", "", 1)
        if letters and not (letters.isascii() and letters.isalpha()):
            raise ArgumentError(with_line(f"einsum: {subscripts!r} is not letters, commas, '...' and '->'"))
    if len(set(right)) != len(right) and "..." not in right:
        raise ArgumentError(with_line(f"einsum: {subscripts!r} repeats a letter in the result"))
    return inputs, right if arrow else None


def _term(subscripts: str, letters: str, array: Array) -> _Term:
    rank = len(array.shape)
    if "..." in letters:
        hidden = rank - (len(letters) - 3)
        if hidden >= 0:
            letters = letters.replace("...", "".join(reversed(_ELLIPSIS[:hidden])))
    if len(letters) != rank:
        raise ShapeError(with_line(f"einsum: {subscripts!r}: {letters!r} names {len(letters)} dims of {rank}"))
    return _Term(array, letters)


def _extents(subscripts: str, terms: Sequence[_Term]) -> dict[str, int]:
    extents: dict[str, int] = {}
    for term in terms:
        for letter, extent in zip(term.letters, term.array.shape, strict=True):
            known = extents.get(letter, extent)
            if extent != known and 1 not in (extent, known):
                raise ShapeError(with_line(f"einsum: {subscripts!r}: {letter!r} is both {known} and {extent}"))
            extents[letter] = extent if known == 1 else known
    return extents


def _output(inputs: Sequence[str], result: str | None, terms: Sequence[_Term]) -> str:
    letters = "".join(term.letters for term in terms)
    hidden = "".join(letter for letter in reversed(_ELLIPSIS) if letter in letters)
    if result is not None:
        return result.replace("...", hidden)
    named = "".join(inputs).replace(".", "")
    return hidden + "".join(sorted(letter for letter in set(named) if named.count(letter) == 1))


def _without_repeats(term: _Term) -> _Term:
    """Dims with the same letter become their diagonal."""
    while repeated := [letter for letter in term.letters if term.letters.count(letter) > 1]:
        letter = repeated[0]
        first = term.letters.index(letter)
        second = term.letters.index(letter, first + 1)
        others = [d for d in range(len(term.letters)) if d not in (first, second)]
        moved = movement.transpose(term.array, (*others, first, second))
        extent = moved.shape[-1]
        flat = movement.reshape(moved, (*moved.shape[:-2], extent * extent))
        rank = len(flat.shape)
        steps = [1] * (rank - 1) + [extent + 1]
        array = movement.static_slice(flat, [0] * rank, flat.shape, steps)
        term = _Term(array, "".join(term.letters[d] for d in others) + letter)
    return term


def _widened(term: _Term, extents: dict[str, int], terms: Sequence[_Term]) -> _Term:
    """Dims of extent 1 that another operand has in full are dropped if that operand brings them, as NumPy broadcasts
    them.
    """
    shared = [
        any(letter in other.letters and other is not term for other in terms) and extents[letter] != extent == 1
        for letter, extent in zip(term.letters, term.array.shape, strict=True)
    ]
    if not any(shared):
        return term
    kept = [d for d, drop in enumerate(shared) if not drop]
    return _Term(
        movement.reshape(term.array, tuple(term.array.shape[d] for d in kept)),
        "".join(term.letters[d] for d in kept),
    )


def _alone(term: _Term, needed: str) -> _Term:
    """Sums over the letters that nothing else needs."""
    axes = tuple(d for d, letter in enumerate(term.letters) if letter not in needed)
    if not axes:
        return term
    array = reduction.sum(term.array, axes, dtype_of(term.array))
    return _Term(array, "".join(letter for letter in term.letters if letter in needed))


def _pair(lhs: _Term, rhs: _Term, later: str) -> _Term:
    shared = [letter for letter in lhs.letters if letter in rhs.letters]
    batch = [letter for letter in shared if letter in later]
    summed = [letter for letter in shared if letter not in later]
    left_free = [letter for letter in lhs.letters if letter not in shared]
    right_free = [letter for letter in rhs.letters if letter not in shared]
    letters = "".join((*batch, *left_free, *right_free))
    if not summed:
        return _Term(_product(lhs, rhs, letters), letters)
    array = contract(
        lhs.array,
        rhs.array,
        tuple(lhs.letters.index(letter) for letter in summed),
        tuple(rhs.letters.index(letter) for letter in summed),
        tuple(lhs.letters.index(letter) for letter in batch),
        tuple(rhs.letters.index(letter) for letter in batch),
    )
    return _Term(array, letters)


def _product(lhs: _Term, rhs: _Term, letters: str) -> Array:
    """Nothing to sum over: an elementwise product."""
    return bind1(ops.mul, _aligned(lhs, letters), _aligned(rhs, letters))


def _aligned(term: _Term, letters: str) -> Array:
    order = [term.letters.index(letter) for letter in letters if letter in term.letters]
    moved = movement.transpose(term.array, order)
    rest = iter(moved.shape)
    return movement.reshape(moved, tuple(next(rest) if letter in term.letters else 1 for letter in letters))
