"""Slabs: all parameters of one dtype in one flat array, so that an optimiser update is one pass over memory.

Comes in: the shapes and dtypes of named arrays. Goes out: per dtype a layout, with functions between a slab and its
leaves for NumPy arrays and traced values alike. Guaranteed: leaves lie one after another without gaps, those whose size
is a multiple of `GROUP` first, so that each of these starts at a multiple of `GROUP` elements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import graphc.numpy as gnp
from graphc.api import Array

GROUP = 16  # elements: 64 bytes of float32


@dataclass(frozen=True, slots=True)
class Place:
    """Where one leaf lies in its slab, in elements."""

    name: str
    offset: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Layout:
    """One slab: its dtype, its length and the places of its leaves in order of offset."""

    dtype: str
    size: int
    places: tuple[Place, ...]

    def leaves(self, slab: Array) -> dict[str, Array]:
        """The leaves by name: views of a NumPy slab, slices of a traced one."""
        return {p.name: gnp.reshape(slab[p.offset : p.offset + p.size], p.shape) for p in self.places}

    def pack(self, leaves: Mapping[str, Array]) -> Array:
        """The slab made of these leaves; other names in the mapping are left out."""
        return gnp.concatenate([gnp.reshape(leaves[p.name], (p.size,)) for p in self.places])


def layouts(leaves: Mapping[str, Array]) -> dict[str, Layout]:
    """One layout per dtype, by the name of the dtype.

    >>> import numpy as np
    >>> [(p.name, p.offset) for p in layouts({"b": np.zeros(3), "w": np.zeros((4, 8))})["float64"].places]
    [('w', 0), ('b', 32)]
    """
    by_dtype: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for name, leaf in leaves.items():
        by_dtype.setdefault(str(leaf.dtype), []).append((name, tuple(leaf.shape)))
    return {dtype: _layout(dtype, shapes) for dtype, shapes in by_dtype.items()}


def _layout(dtype: str, shapes: list[tuple[str, tuple[int, ...]]]) -> Layout:
    places: list[Place] = []
    offset = 0
    for name, shape in sorted(shapes, key=lambda item: math.prod(item[1]) % GROUP != 0):  # stable
        places.append(Place(name, offset, shape))
        offset += math.prod(shape)
    return Layout(dtype, offset, tuple(places))
