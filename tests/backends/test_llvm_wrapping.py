"""What vectors must not do otherwise than single elements: integers wrap before they are compared, NaN keeps bits."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp

COUNT = 40  # two vectors and a rest
RAMP = np.arange(COUNT, dtype=np.int64)
EDGES = [(2**62, -(2**63) + 5), (2**63 - 1, 0), (2**63 - 20, 0), (-(2**63), 5), (2**62, 2**62 + 7), (3, 20)]


@pytest.mark.parametrize(("start", "bound"), EDGES)
def test_what_wraps_is_compared_as_it_is(start: int, bound: int) -> None:
    with np.errstate(all="ignore"):
        wanted = np.int64(start) + RAMP < np.int64(bound)
    ramp = gnp.arange(COUNT, dtype="int64")
    given = gc.jit(lambda a, b: ramp + a < b)(np.int64(start), np.int64(bound))
    np.testing.assert_array_equal(given, wanted)  # type: ignore[arg-type]
    np.testing.assert_array_equal(gc.jit(lambda: ramp + start < bound)(), wanted)  # type: ignore[arg-type]
    chosen = gc.jit(lambda: gnp.where((ramp < 32) & (ramp + start < bound), 1, 0))()
    np.testing.assert_array_equal(chosen, np.where((RAMP < 32) & wanted, 1, 0))  # type: ignore[arg-type]


@pytest.mark.parametrize("function", [gnp.maximum, gnp.minimum])
def test_of_two_nans_every_element_takes_the_same(function) -> None:
    one, other = (np.full(33, bits, np.uint32).view(np.float32) for bits in (0x7FC00001, 0xFFC00002))
    found = np.asarray(gc.jit(lambda x, y: function(x, y))(one, other))
    assert len(set(found.view(np.uint32).tolist())) == 1
    alone = np.asarray(gc.jit(lambda x, y: function(x, y))(one[:1], other[:1]))
    assert found[:1].tobytes() == alone.tobytes()
