"""Slabs: no gaps, aligned leaves first, views both ways."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from graphc.train.slab import GROUP, layouts

SHAPES = st.lists(st.lists(st.integers(0, 20), max_size=3).map(tuple), min_size=1, max_size=8)


@given(SHAPES)
def test_leaves_lie_without_gaps_and_multiples_are_aligned(shapes: list[tuple[int, ...]]) -> None:
    leaves = {f"leaf{i}": np.zeros(shape, np.float32) for i, shape in enumerate(shapes)}
    layout = layouts(leaves)["float32"]
    offset = 0
    for place in layout.places:
        assert place.offset == offset
        assert place.size % GROUP or place.offset % GROUP == 0
        offset += place.size
    assert offset == layout.size == sum(leaf.size for leaf in leaves.values())


def test_packing_and_unpacking_are_inverse_and_leaves_are_views() -> None:
    rng = np.random.default_rng(0)
    leaves = {"b": rng.normal(size=3), "w": rng.normal(size=(4, 8)), "s": np.array(2.0), "half": np.ones(2, np.float32)}
    found = layouts(leaves)
    assert set(found) == {"float64", "float32"}
    slab = np.asarray(found["float64"].pack(leaves))
    back = found["float64"].leaves(slab)
    assert set(back) == {"b", "w", "s"}
    for name, leaf in back.items():
        np.testing.assert_array_equal(leaf, leaves[name])
    slab[:] = 7
    assert np.all(np.asarray(back["w"]) == 7)
