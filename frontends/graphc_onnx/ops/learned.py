"""Ops of the domain ai.onnx.ml, and n-gram counts: tables, thresholds, trees."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

import graphc.numpy as gnp
from graphc.api import ArgumentError, Array, UnsupportedError
from graphc.nn import functional as F
from graphc_onnx.ops.common import Ints, cast, dtype_of, only
from graphc_onnx.table import Row

DOMAIN = "ai.onnx.ml"
Floats = tuple[float, ...]
Strings = tuple[str, ...]


def _binarizer(x: Array, *, threshold: float = 0.0) -> Array:
    return cast(gnp.greater(x, threshold), dtype_of(x))


def _label_encoder(
    x: Array,
    *,
    keys_strings: Strings | None = None,
    keys_int64s: Ints | None = None,
    keys_floats: Floats | None = None,
    keys_tensor: np.ndarray | None = None,
    values_strings: Strings | None = None,
    values_int64s: Ints | None = None,
    values_floats: Floats | None = None,
    values_tensor: np.ndarray | None = None,
    default_string: str = "_Unused",
    default_int64: int = -1,
    default_float: float = -0.0,
    default_tensor: np.ndarray | None = None,
) -> Array:
    """Each key's value; what is no key gets the default."""
    keys = _listed({"O": keys_strings, "i8": keys_int64s, "f4": keys_floats}, keys_tensor)
    values = _listed({"O": values_strings, "i8": values_int64s, "f4": values_floats}, values_tensor)
    other: object = {"O": default_string, "i": default_int64, "f": default_float}[values.dtype.kind]
    missing = np.asarray(other, values.dtype) if default_tensor is None else default_tensor.reshape(())
    if isinstance(x, np.ndarray):
        table: Mapping[object, object] = dict(zip(keys.tolist(), values.tolist(), strict=True))
        found = [table.get(item, missing.item()) for item in x.ravel().tolist()]
        return np.asarray(found, values.dtype).reshape(x.shape)
    if values.dtype == object:
        raise UnsupportedError("strings are made of inputs that are not known while tracing")
    same = gnp.equal(gnp.expand_dims(x, -1), keys)
    if keys.dtype.kind == "f":
        same = gnp.logical_or(same, gnp.logical_and(gnp.isnan(gnp.expand_dims(x, -1)), np.isnan(keys)))
    chosen = gnp.take(values, gnp.argmax(same, axis=-1), axis=0)
    return gnp.where(gnp.any(same, axis=-1), chosen, missing)


def _listed(given: Mapping[str, Strings | Ints | Floats | None], tensor: np.ndarray | None) -> np.ndarray:
    if tensor is not None:
        return tensor.ravel()
    for dtype, items in given.items():
        if items is not None:
            return np.asarray(items, dtype)
    raise ArgumentError("has no keys or no values")


# ---------------------------------------------------------------------------------------------------------- ensembles

_COMPARISONS = (gnp.less_equal, gnp.less, gnp.greater_equal, gnp.greater, gnp.equal, gnp.not_equal)
_MEMBER = 6


def _tree_ensemble(
    x: Array,
    *,
    nodes_splits: np.ndarray,
    nodes_featureids: Ints,
    nodes_modes: np.ndarray,
    nodes_truenodeids: Ints,
    nodes_falsenodeids: Ints,
    nodes_trueleafs: Ints,
    nodes_falseleafs: Ints,
    tree_roots: Ints,
    leaf_targetids: Ints,
    leaf_weights: np.ndarray,
    membership_values: np.ndarray | None = None,
    nodes_missing_value_tracks_true: Ints | None = None,
    nodes_hitrates: np.ndarray | None = None,
    aggregate_function: int = 1,
    n_targets: int = 1,
    post_transform: int = 0,
) -> Array:
    """All rows go down one step at a time. Leaves follow the nodes in one table, and lead to themselves."""
    nodes, leaves = len(nodes_featureids), len(leaf_targetids)
    own = np.arange(nodes, nodes + leaves)
    target = [
        np.asarray(ids) + nodes * np.asarray(is_leaf)
        for ids, is_leaf in ((nodes_truenodeids, nodes_trueleafs), (nodes_falsenodeids, nodes_falseleafs))
    ]
    then, otherwise = (np.concatenate([part, own]).astype(np.int64) for part in target)
    features = np.concatenate([nodes_featureids, np.zeros(leaves, np.int64)]).astype(np.int64)
    splits = np.concatenate([nodes_splits, np.zeros(leaves, nodes_splits.dtype)])
    modes = np.concatenate([nodes_modes, np.zeros(leaves, np.uint8)]).astype(np.int64)
    tracked = np.zeros(nodes + leaves, bool)
    tracked[:nodes] = nodes_missing_value_tracks_true or (0,) * nodes
    members = _members(modes, membership_values, dtype_of(x))
    place = gnp.broadcast_to(np.asarray(tree_roots, np.int64), (x.shape[0], len(tree_roots)))
    for _ in range(_depth(then, otherwise, tree_roots, nodes)):
        value = gnp.take_along_axis(x, gnp.take(features, place, axis=0), axis=1)
        split = gnp.take(splits, place, axis=0)
        mode = gnp.take(modes, place, axis=0)
        holds = gnp.any(gnp.equal(gnp.expand_dims(value, -1), gnp.take(members, place, axis=0)), axis=-1)
        for code, compare in enumerate(_COMPARISONS):
            if code in modes[:nodes]:
                holds = gnp.where(gnp.equal(mode, code), compare(value, split), holds)
        holds = gnp.logical_or(holds, gnp.logical_and(gnp.isnan(value), gnp.take(tracked, place, axis=0)))
        place = gnp.where(holds, gnp.take(then, place, axis=0), gnp.take(otherwise, place, axis=0))
    leaf = place - nodes
    hot = gnp.equal(
        gnp.expand_dims(gnp.take(np.asarray(leaf_targetids, np.int64), leaf, axis=0), -1), np.arange(n_targets)
    )
    weight = gnp.expand_dims(gnp.take(leaf_weights, leaf, axis=0), -1)
    return _post_transform(_aggregated(hot, weight, aggregate_function), post_transform)


def _members(modes: np.ndarray, values: np.ndarray | None, dtype: np.dtype[np.generic]) -> np.ndarray:
    """For each node the set that it tests for, filled up with NaN, which nothing equals."""
    sets: list[list[float]] = [[]]
    for value in [] if values is None else values.tolist():
        if math.isnan(value):
            sets.append([])
        else:
            sets[-1].append(value)
    table = np.full((len(modes), max(1, *(len(items) for items in sets))), np.nan)
    for node, items in zip(np.flatnonzero(modes == _MEMBER), sets, strict=False):
        table[node, : len(items)] = items
    return table.astype(dtype)


def _depth(then: np.ndarray, otherwise: np.ndarray, roots: Ints, nodes: int) -> int:
    """Steps from a root to the farthest leaf."""
    depth, level = 0, set(roots)
    while level := {int(n) for place in level if place < nodes for n in (then[place], otherwise[place])}:
        depth += 1
        if depth > nodes:
            raise ArgumentError("the trees have a cycle")
    return depth


def _aggregated(hot: Array, weight: Array, function: int) -> Array:
    """Over the trees, for each target."""
    zero = gnp.zeros_like(weight)
    if function in (0, 1):
        total = gnp.sum(gnp.where(hot, weight, zero), axis=1)
        return total / hot.shape[1] if function == 0 else total
    if function not in (2, 3):
        raise ArgumentError(f"unknown aggregate_function {function}")
    worst = gnp.full_like(weight, math.inf if function == 2 else -math.inf)
    best = (gnp.min if function == 2 else gnp.max)(gnp.where(hot, weight, worst), axis=1)
    return gnp.where(gnp.any(hot, axis=1), best, gnp.zeros_like(best))


def _post_transform(scores: Array, kind: int) -> Array:
    if kind == 0:
        return scores
    if kind == 1:
        return F.softmax(scores, -1)
    if kind == 2:
        return gnp.sigmoid(scores)
    raise UnsupportedError(f"post_transform={kind} is not supported")


# ------------------------------------------------------------------------------------------------------------ n-grams


def _tfidf(
    x: Array,
    *,
    max_gram_length: int,
    min_gram_length: int,
    max_skip_count: int,
    mode: str,
    ngram_counts: Ints,
    ngram_indexes: Ints,
    pool_int64s: Ints | None = None,
    pool_strings: Strings | None = None,
    weights: Floats | None = None,
) -> Array:
    """How often each n-gram of the pool occurs in each row, also with elements skipped between its own."""
    only("mode", mode, "TF", "IDF", "TFIDF")
    if pool_int64s is None:
        raise UnsupportedError("n-grams of strings are not supported")
    rows = x if len(x.shape) == 2 else gnp.expand_dims(x, 0)
    counts = np.zeros((rows.shape[0], len(ngram_indexes)), np.float32)
    total: Array = counts
    ends = [*ngram_counts[1:], len(pool_int64s)]
    first = 0
    for length, (start, end) in enumerate(zip(ngram_counts, ends, strict=True), start=1):
        grams = np.asarray(pool_int64s[start:end], np.int64).reshape(-1, length)
        if min_gram_length <= length <= max_gram_length and len(grams):
            found = _occurrences(rows, grams, max_skip_count if length > 1 else 0)
            total = total + gnp.pad(found, [(0, 0), (first, len(ngram_indexes) - first - len(grams))])
        first += len(grams)
    factor = np.asarray(weights or (1.0,) * len(ngram_indexes), np.float32)
    if mode == "IDF":
        total = cast(gnp.greater(total, 0.0), np.float32)
    total = total if mode == "TF" else total * factor
    spread = np.zeros((len(ngram_indexes), max(ngram_indexes) + 1), np.float32)
    spread[np.arange(len(ngram_indexes)), ngram_indexes] = 1
    result = gnp.matmul(total, spread)
    return result if len(x.shape) == 2 else result[0]


def _occurrences(rows: Array, grams: np.ndarray, skips: int) -> Array:
    length = grams.shape[1]
    total: Array = np.zeros((rows.shape[0], len(grams)), np.float32)
    for step in range(1, skips + 2):
        count = rows.shape[1] - (length - 1) * step
        if count <= 0:
            break
        windows = gnp.stack([rows[:, at * step : at * step + count] for at in range(length)], axis=-1)
        same = gnp.all(gnp.equal(gnp.expand_dims(cast(windows, np.int64), 2), grams), axis=-1)
        total = total + gnp.sum(cast(same, np.float32), axis=1)
    return total


ROWS = [
    Row("Binarizer", 1, _binarizer, domain=DOMAIN),
    Row("LabelEncoder", 2, _label_encoder, domain=DOMAIN),
    Row("TreeEnsemble", 5, _tree_ensemble, domain=DOMAIN),
    Row("TfIdfVectorizer", 9, _tfidf),
]
