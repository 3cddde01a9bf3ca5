"""Convolutions and reductions over windows, written in terms of other primitives.

In: any graph. Out: the same function without `conv_general` and `reduce_window`.

A convolution is the product of all windows of its padded input with the weights. Where the input has holes (the
gradient of a convolution with a stride), windows that lie alike over elements and holes are a product each, so that
nothing is multiplied with a hole. One sum has its terms in ascending order, contracted dims before taps. Sums longer
than 4096 are cut into equal parts of at most 4096 terms along their outermost dims, as many whole dims in each part as
fit; the parts are added up as a reduction. Where extents allow no parts of 256 terms at least, products cut by
themselves. Where nothing else is multiplied with a kernel (the gradient of a depthwise convolution by its weights) and
it has 64 taps at least, the taps of one image are a reduction, and so are the images.

Windows of few elements are reduced element by element, tap after tap in order, from slices of the input; others as
reductions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import gcd, prod

from graphc.core.dtypes import DType, float32
from graphc.core.records import dataclass
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Op, TensorType, Value
from graphc.graph.ops import elementwise, reduction
from graphc.graph.ops import sliding as ops
from graphc.graph.ops.contraction import DotAttrs
from graphc.graph.ops.movement import AxesAttrs
from graphc.graph.ops.sliding import ConvAttrs, Phase, ReduceWindowAttrs, Sliding, phases
from graphc.graph.sliding import padded, taps, windows
from graphc.passes import matvec
from graphc.passes.rewrite import with_regions

LONGEST, SHORTEST = 4096, 256  # terms of a part of a sum
REDUCED = matvec.SHORTEST  # terms from which on a sum with a kernel that nothing else is multiplied with is a reduction


@dataclass(frozen=True, slots=True)
class Windows:
    """Write out convolutions and reductions over windows.

    >>> from graphc.graph.parser import parse
    >>> print(
    ...     Windows().run(
    ...         parse('''
    ... graph f(%0: f32[3,8] x) {
    ...   %1: f32[3,4] = reduce_window(%0) {reducer="max", dims=(1,), size=(2,), stride=(2,), low=(0,), high=(0,),
    ... base_dilation=(1,), dilation=(1,)}
    ...   return %1
    ... }''')
    ...     )
    ... )
    graph f(%0: f32[3,8] x) {
      %1: f32[3,4] = slice(%0) {start=(0, 0), stop=(3, 7), step=(1, 2)}
      %2: f32[3,4] = slice(%0) {start=(0, 1), stop=(3, 8), step=(1, 2)}
      %3: f32[3,4] = max(%1, %2)
      return %3
    }
    <BLANKLINE>
    """

    name: str = "windows"

    def run(self, graph: Graph) -> Graph:
        return with_regions(graph, _written_out)


def _written_out(graph: Graph) -> Graph:
    if all(node.op not in _RULES for node in graph.nodes):
        return graph
    builder = GraphBuilder(graph.name)
    replaced: dict[Value, Value] = {value: value for value in graph.inputs}
    for node in graph.nodes:
        rule = _RULES.get(node.op)
        if rule is None:
            builder.copy(node, replaced)
        else:
            c = Compose(builder, node.loc)
            replaced[node.result] = rule(c, node, [replaced[v] for v in node.operands])
    outputs = tuple(replaced[v] for v in graph.outputs)
    return Graph(graph.name, graph.inputs, tuple(builder.nodes), outputs, graph.aliases)


def _by_phase(
    c: Compose,
    sliding: Sequence[Sliding],
    dims: Sequence[int],
    part: Callable[[tuple[Phase, ...]], Value],
    empty: bool | int | float,
    result: TensorType,
) -> Value:
    """The parts, each of all windows of one phase, put together along `dims`, all at once.

    empty: what windows without elements are.
    """
    every = list(phases(tuple(sliding)))
    found = [part(parts) for _, parts in every]
    if len(found) == 1:
        return found[0]
    periods, shape = [each.period for each in sliding], found[0].shape
    full = [n for n, (_, parts) in enumerate(every) if all(each.sliding.size for each in parts)]
    if len(full) == 1:
        return _alone(c, found[full[0]], every[full[0]][0], periods, dims, empty, result)
    whole = c.concatenate([c.reshape(x, (1, *shape)) for x in found], 0)
    whole = c.reshape(whole, (*periods, *shape))
    count = len(periods)
    order: list[int] = []
    for dim in range(len(shape)):
        order += [count + dim, *([dims.index(dim)] if dim in dims else [])]
    whole = c.transpose(whole, tuple(order))
    joined = [extent * (periods[dims.index(dim)] if dim in dims else 1) for dim, extent in enumerate(shape)]
    whole = c.reshape(whole, tuple(joined))
    return c.slice(whole, (0,) * len(shape), result.shape, (1,) * len(shape))


def _alone(
    c: Compose,
    x: Value,
    numbers: Sequence[int],
    periods: Sequence[int],
    dims: Sequence[int],
    empty: bool | int | float,
    result: TensorType,
) -> Value:
    """The only part that is not empty, among those that are."""
    shape: list[int] = []
    low: list[int] = []
    high: list[int] = []
    joined: list[int] = []
    for dim, extent in enumerate(x.shape):
        if dim not in dims:
            shape, low, high, joined = [*shape, extent], [*low, 0], [*high, 0], [*joined, extent]
            continue
        n = dims.index(dim)
        shape, joined = [*shape, extent, 1], [*joined, extent * periods[n]]
        low, high = [*low, 0, numbers[n]], [*high, 0, periods[n] - 1 - numbers[n]]
    apart = c.pad(c.reshape(x, tuple(shape)), c.scalar(empty, x.dtype), tuple(low), tuple(high))
    return c.slice(c.reshape(apart, tuple(joined)), (0,) * len(joined), result.shape, (1,) * len(joined))


# ----------------------------------------------------------------------------------------------------- convolutions


def _conv(c: Compose, node: Node, operands: Sequence[Value]) -> Value:
    attrs = node.attrs
    assert isinstance(attrs, ConvAttrs)
    lhs, rhs = operands
    if 0 in (node.result.type.size, rhs.type.size):
        return c.zeros(node.result.type)
    sliding = attrs.sliding(lhs.shape, rhs.shape)
    dims = range(node.result.type.rank - len(sliding), node.result.type.rank)
    around = [_margins(each) for each in sliding]
    if any((each.low, each.high) != (0, 0) for each in around):
        attrs, lhs = _summed_near(c, attrs, lhs, rhs, sliding)
    order = sorted(range(len(sliding)), key=attrs.lhs_spatial.__getitem__)
    given = padded(c, lhs, [attrs.lhs_spatial[n] for n in order], [around[n] for n in order], 0)

    def part(parts: tuple[Phase, ...]) -> Value:
        if any(each.sliding.size == 0 for each in parts):
            shape = (*node.result.shape[: dims.start], *(each.sliding.places for each in parts))
            return c.zeros(node.result.type.with_shape(shape))
        start, stop, step = [0] * rhs.type.rank, list(rhs.shape), [1] * rhs.type.rank
        for dim, each in zip(attrs.rhs_spatial, parts, strict=True):
            reach = (each.sliding.size - 1) * each.every
            start[dim] = rhs.shape[dim] - 1 - each.first - reach if attrs.flipped else each.first
            stop[dim], step[dim] = start[dim] + reach + 1, each.every
        kernel = c.slice(rhs, tuple(start), tuple(stop), tuple(step))
        own = [each.sliding for each in parts]
        if all(each.low <= 0 and each.high <= 0 for each in own):
            read = padded(c, lhs, [attrs.lhs_spatial[n] for n in order], [own[n] for n in order], 0)
            return _product(c, attrs, read, kernel, tuple(own), node.result.dtype)
        begin, end = [0] * lhs.type.rank, list(given.shape)
        for dim, margins, each in zip(attrs.lhs_spatial, around, parts, strict=True):
            begin[dim] = margins.low - each.sliding.low
            end[dim] -= margins.high - each.sliding.high
        read = c.slice(given, tuple(begin), tuple(end), (1,) * lhs.type.rank)
        return _product(c, attrs, read, kernel, tuple(own), node.result.dtype)

    return _by_phase(c, sliding, dims, part, 0, node.result.type)


def _summed_near(
    c: Compose, attrs: ConvAttrs, lhs: Value, rhs: Value, sliding: Sequence[Sliding]
) -> tuple[ConvAttrs, Value]:
    """What is about to be padded, with the dims that are summed over inside the places but the last ones.

    For products that read windows where they lie (see `_form`): from one term to the next is a row then, not an image.
    """
    last = lhs.type.rank - 1
    if len(sliding) < 2 or last not in attrs.lhs_spatial or prod(lhs.shape[d] for d in attrs.lhs_contract) == 1:
        return attrs, lhs
    others = prod(rhs.shape[d] for d in range(rhs.type.rank) if d not in attrs.rhs_taken)
    outer = sliding[0]
    if others * -(-outer.size // (outer.base // gcd(outer.dilation, outer.base))) >= USES:
        return attrs, lhs
    order = [d for d in range(last) if d not in attrs.lhs_contract] + [*attrs.lhs_contract, last]

    def moved(dims: Sequence[int]) -> tuple[int, ...]:
        return tuple(order.index(d) for d in dims)

    batch, contract, spatial = (moved(d) for d in (attrs.lhs_batch, attrs.lhs_contract, attrs.lhs_spatial))
    attrs = replace(attrs, lhs_batch=batch, lhs_contract=contract, lhs_spatial=spatial)
    return attrs, c.transpose(lhs, tuple(order))


def _margins(each: Sliding) -> Sliding:
    """The padding that windows of all phases need; the least cut where it is negative."""
    found = [phase for number in range(each.period) if (phase := each.phase(number).sliding).size]
    low, high = max((x.low for x in found), default=0), max((x.high for x in found), default=0)
    return Sliding(each.extent, 1, low=low, high=high)


def parts_of(extents: Sequence[int]) -> tuple[int, int] | None:
    """Where a sum over these extents is cut: the dim, and how many of it belong to one part; None: it is not."""
    total = 1
    for extent in extents:
        total *= extent
    if total <= LONGEST:
        return None
    inner, dim = 1, len(extents) - 1
    while inner * extents[dim] <= LONGEST:
        inner *= extents[dim]
        dim -= 1
    kept = max(n for n in range(1, LONGEST // inner + 1) if extents[dim] % n == 0)
    return (dim, kept) if kept * inner >= SHORTEST else None


Label = tuple[str, int]  # what a dim is: "batch", "feature", "lhs", "rhs", "place" or "tap", and which of them; "part"


@dataclass(frozen=True, slots=True)
class _Labelled:
    """A value whose dims have labels."""

    value: Value
    labels: tuple[Label, ...]

    def extent(self, label: Label) -> int:
        return self.value.shape[self.labels.index(label)]

    def dims(self, labels: Sequence[Label]) -> tuple[int, ...]:
        return tuple(self.labels.index(label) for label in labels)

    def split(self, c: Compose, label: Label, inner: int) -> "_Labelled":
        """A dim as two: the parts, then `inner` of it."""
        dim = self.labels.index(label)
        shape = self.value.shape
        value = c.reshape(self.value, (*shape[:dim], shape[dim] // inner, inner, *shape[dim + 1 :]))
        return _Labelled(value, (*self.labels[:dim], PART, *self.labels[dim:]))

    def ordered(self, c: Compose, labels: Sequence[Label]) -> "_Labelled":
        return _Labelled(c.transpose(self.value, self.dims(labels)), tuple(labels))

    def merged(self, c: Compose, labels: Sequence[Label]) -> "_Labelled":
        """Some dims as one, which has the first label: where they are if they follow each other there, else last."""
        if len(labels) < 2:
            return self
        at = self.labels.index(labels[0])
        if self.labels[at : at + len(labels)] != tuple(labels):
            at = len(self.labels) - len(labels)
            return self.ordered(c, [*(label for label in self.labels if label not in labels), *labels])._joined(
                c, at, len(labels)
            )
        return self._joined(c, at, len(labels))

    def _joined(self, c: Compose, at: int, count: int) -> "_Labelled":
        shape = self.value.shape
        value = c.reshape(self.value, (*shape[:at], prod(shape[at : at + count]), *shape[at + count :]))
        return _Labelled(value, (*self.labels[: at + 1], *self.labels[at + count :]))

    def squeezed(self, c: Compose, labels: Sequence[Label]) -> "_Labelled":
        """Without some dims of extent 1."""
        kept = [d for d, label in enumerate(self.labels) if label not in labels]
        value = c.reshape(self.value, tuple(self.value.shape[d] for d in kept))
        return _Labelled(value, tuple(self.labels[d] for d in kept))


PART: Label = ("part", 0)


def _labels(rank: int, **taken: tuple[int, ...]) -> tuple[Label, ...]:
    """Labels by the dims that have each name; the others are free."""
    name = next(iter(taken))
    found = {dim: (what, n) for what, dims in taken.items() for n, dim in enumerate(dims)}
    free = [dim for dim in range(rank) if dim not in found]
    found.update({dim: (name, n) for n, dim in enumerate(free)})
    return tuple(found[dim] for dim in range(rank))


def _product(c: Compose, attrs: ConvAttrs, lhs: Value, rhs: Value, sliding: tuple[Sliding, ...], dtype: DType) -> Value:
    """A convolution without holes of what is padded."""
    wide = [n for n, each in enumerate(sliding) if each.size > 1]
    single = [n for n, each in enumerate(sliding) if each.size == 1]
    order = sorted(range(len(sliding)), key=attrs.lhs_spatial.__getitem__)
    given = _stepped(c, lhs, [attrs.lhs_spatial[n] for n in single], [sliding[n] for n in single])
    batch, feature = attrs.lhs_batch, attrs.lhs_contract
    x = _Labelled(given, _labels(lhs.type.rank, lhs=(), batch=batch, feature=feature, place=attrs.lhs_spatial))
    batch, feature = attrs.rhs_batch, attrs.rhs_contract
    w = _Labelled(rhs, _labels(rhs.type.rank, rhs=(), batch=batch, feature=feature, tap=attrs.rhs_spatial))
    w = w.squeezed(c, [("tap", n) for n in single])
    terms: list[Label] = [("feature", n) for n in range(len(feature))] + [("tap", n) for n in wide]
    taken = [label for label in terms if label[0] == "tap"]
    others = prod(w.extent(label) for label in w.labels if label[0] == "rhs")
    parts: list[Label] = []
    reduced = others == 1 and prod(w.extent(label) for label in taken) >= REDUCED
    if reduced:
        parts, terms = terms[: -len(taken)], taken
    cut = None if parts else parts_of([w.extent(label) for label in terms])
    kept: dict[Label, int] = {}  # taps of one part of the sum
    if cut is not None:
        parts, split, terms = terms[: cut[0]], terms[cut[0]], terms[cut[0] :]
        if cut[1] == 1:
            parts, terms = [*parts, split], terms[1:]
        elif cut[1] < w.extent(split):
            w, parts = w.split(c, split, cut[1]), [*parts, PART]
            if split[0] == "tap":
                kept[split] = cut[1]
            else:
                x = x.split(c, split, cut[1])
    summed = [label for label in terms if label[0] == "tap"]
    # a reduction reads runs of memory, or one element after the other: then writing is always worth it
    form = _form(x, w, sliding, wide, summed, kept, 1 if reduced else USES)
    inner = [n for n in order if n in wide and not (form.slides and n == 0)]
    # taps that become one with those of the first dim are flipped together with them
    x = _slid(c, x, sliding, inner, kept, attrs.flipped and form != _Form("tap", True))
    if form.flat == "place":
        x = _places_flat(c, x, sliding, form.slides, attrs.flipped)
    elif form.flat == "tap":
        taken = [label for label in terms if label[0] == "tap"]
        x, w = _taps_flat(c, x, sliding, taken, form.slides, kept, attrs.flipped), w.merged(c, taken)
        terms = [label for label in terms if label not in taken[1:]]
    found = _summed(c, x, w, terms, parts, attrs.dtype, dtype)
    if form.flat == "place":
        found = c.reshape(found, (*found.shape[:-1], *(each.places for each in sliding)))
    return found


@dataclass(frozen=True, slots=True)
class _Form:
    """Which of the places and taps of several dims become one dim, whose elements lie one after the other in memory.

    Windows along the other dims are written to memory, and windows of the first dim slide over them: one step of that
    dim is a whole row of the flat one. slides: they do; else all windows are written.
    """

    flat: str | None
    slides: bool


USES = 96  # multiply-adds that an element of written windows must be worth


def _form(
    x: _Labelled,
    w: _Labelled,
    sliding: Sequence[Sliding],
    wide: Sequence[int],
    summed: Sequence[Label],
    kept: Mapping[Label, int],
    least: int,
) -> _Form:
    """The form that writes least, if what is written is used `least` times."""
    if len(sliding) < 2:
        return _Form(None, False)
    flat = "place" if prod(each.places for each in sliding) >= prod(each.size for each in sliding) else "tap"
    outer, first = sliding[0], ("tap", 0)
    if flat == "tap":
        slides = outer.dilation == 1 and len(summed) > 1 and summed[0] == first and set(kept) <= {first}
    else:
        slides = outer.stride == 1 and 0 in wide and not kept
    if flat == "tap" and not summed:
        return _Form(None, False)
    written = prod(x.value.shape)
    for n, each in enumerate(sliding):
        if not (slides and n == 0):
            written = written // x.extent(("place", n)) * each.places * each.size
    others = prod(e for e, label in zip(w.value.shape, w.labels) if label[0] == "rhs")
    elements = prod(e for e, label in zip(x.value.shape, x.labels) if label[0] != "place")
    work = elements * others * prod(each.places * each.size for each in sliding)
    return _Form(flat, slides) if work >= least * written else _Form(None, False)


def _places_flat(c: Compose, x: _Labelled, sliding: Sequence[Sliding], slides: bool, flipped: bool) -> _Labelled:
    """All places as one dim; windows of the first dim step over whole rows of it."""
    places: list[Label] = [("place", n) for n in range(len(sliding))]
    written = [label for label in x.labels if label[0] == "tap"]
    rest = [label for label in x.labels if label not in written]
    at = min(rest.index(label) for label in places)
    x = x.ordered(c, [*rest[:at], *written, *rest[at:]]).merged(c, places)
    if not slides:
        return x
    row = prod(each.places for each in sliding[1:])
    size, reach = [sliding[0].size], [sliding[0].dilation * row]
    value = windows(c, x.value, x.dims(places[:1]), size, [1], reach, flipped)
    return _Labelled(value, (*x.labels, ("tap", 0)))


def _taps_flat(
    c: Compose,
    x: _Labelled,
    sliding: Sequence[Sliding],
    taken: Sequence[Label],
    slides: bool,
    kept: Mapping[Label, int],
    flipped: bool,
) -> _Labelled:
    """The taps `taken` as one dim, the last; where windows slide over it, from the start of a row on."""
    if not slides:
        return x.merged(c, taken)
    place: Label = ("place", 0)
    x = x.merged(c, [place, *taken[1:]])
    row = prod(sliding[n].size for _, n in taken[1:])
    size, stride = sliding[0].size, sliding[0].stride * row
    inner = kept.get(taken[0], size)
    dims = x.dims([place])
    value = windows(c, x.value, dims, [inner * row], [stride if inner == size else 1], [1], flipped)
    labels = (*x.labels, taken[0])
    if inner < size:
        value = windows(c, value, dims, [size // inner], [stride], [inner * row], flipped)
        labels = (*labels, PART)
    return _Labelled(value, labels)


def _stepped(c: Compose, x: Value, dims: Sequence[int], sliding: Sequence[Sliding]) -> Value:
    """Only the elements that windows of one element read."""
    start, stop, step = [0] * x.type.rank, list(x.shape), [1] * x.type.rank
    for dim, each in zip(dims, sliding, strict=True):
        stop[dim], step[dim] = (each.places - 1) * each.stride + 1, each.stride
    return c.slice(x, tuple(start), tuple(stop), tuple(step))


def _slid(
    c: Compose, x: _Labelled, sliding: Sequence[Sliding], order: Sequence[int], kept: Mapping[Label, int], flipped: bool
) -> _Labelled:
    """The windows of x; the taps of a sum that is cut there are windows of windows."""
    dims = x.dims([("place", n) for n in order])
    inner = {n: kept.get(("tap", n), sliding[n].size) for n in order}
    halves = [inner[n] < sliding[n].size for n in order]
    stride = [1 if half else sliding[n].stride for n, half in zip(order, halves)]
    dilation = [sliding[n].dilation for n in order]
    value = windows(c, x.value, dims, [inner[n] for n in order], stride, dilation, flipped)
    labels = (*x.labels, *(("tap", n) for n in order))
    for n, dim, half in zip(order, dims, halves):
        if half:
            each = sliding[n]
            reach = [each.dilation * inner[n]]
            value = windows(c, value, [dim], [each.size // inner[n]], [each.stride], reach, flipped)
            labels = (*labels, PART)
    return _Labelled(value, labels)


def _summed(
    c: Compose,
    x: _Labelled,
    w: _Labelled,
    terms: Sequence[Label],
    parts: Sequence[Label],
    asked: DType | None,
    dtype: DType,
) -> Value:
    """The products, added up over `terms`, and over `parts` as a reduction."""
    batch = [label for label in x.labels if label[0] == "batch"]
    batch.sort()
    together = [*parts, *batch]
    if parts and dtype.is_half:
        asked = float32
    dot = DotAttrs(x.dims(terms), w.dims(terms), x.dims(together), w.dims(together), asked)
    product = c.dot_general(x.value, w.value, dot)
    free = [label for each in (x, w) for label in each.labels if label not in (*terms, *together)]
    found = _Labelled(c.reduce_sum(product, range(len(parts))), (*batch, *free))
    places = sorted(label for label in free if label[0] == "place")
    result = [*batch, *(label for label in free if label[0] != "place"), *places]
    return c.cast(c.transpose(found.value, found.dims(result)), dtype)


# ------------------------------------------------------------------------------------------------------- reductions

FEW = 64  # taps that are taken one by one
_COMBINE: dict[str, Op] = {"sum": elementwise.add, "max": elementwise.max_, "min": elementwise.min_}
_REDUCE: dict[str, Op] = {"sum": reduction.reduce_sum, "max": reduction.reduce_max, "min": reduction.reduce_min}


def _reduce(c: Compose, node: Node, operands: Sequence[Value]) -> Value:
    attrs = node.attrs
    assert isinstance(attrs, ReduceWindowAttrs)
    (x,) = operands
    if 0 in (node.result.type.size, x.type.size):
        return c.full(node.result.type, attrs.identity(x.dtype))
    wide = c.cast(x, float32) if x.dtype.is_half else x

    def part(parts: tuple[Phase, ...]) -> Value:
        sliding = tuple(each.sliding for each in parts)
        if any(each.size == 0 for each in sliding):
            shape = list(x.shape)
            for dim, each in zip(attrs.dims, sliding, strict=True):
                shape[dim] = each.places
            return c.full(TensorType(tuple(shape), wide.dtype), attrs.identity(wide.dtype))
        return _reduced(c, attrs, wide, sliding)

    # phases are numbered along the dims of the windows, which may have others between them
    empty = attrs.identity(wide.dtype)
    found = _by_phase(c, attrs.sliding(x.shape), attrs.dims, part, empty, node.result.type)
    return c.cast(found, x.dtype)


def _reduced(c: Compose, attrs: ReduceWindowAttrs, x: Value, sliding: tuple[Sliding, ...]) -> Value:
    """Windows without holes."""
    given = padded(c, x, attrs.dims, sliding, attrs.identity(x.dtype))
    if prod(each.size for each in sliding) <= FEW:
        first, *others = taps(c, given, attrs.dims, sliding)
        for each in others:
            first = c(_COMBINE[attrs.reducer], first, each)
        return first
    size, stride, dilation = zip(*((each.size, each.stride, each.dilation) for each in sliding), strict=True)
    found = windows(c, given, attrs.dims, size, stride, dilation)
    return c(_REDUCE[attrs.reducer], found, attrs=AxesAttrs(tuple(range(x.type.rank, found.type.rank))))


_RULES: dict[Op, Callable[[Compose, Node, Sequence[Value]], Value]] = {
    ops.conv_general: _conv,
    ops.reduce_window: _reduce,
}
