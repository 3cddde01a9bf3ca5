"""Discrete Fourier transforms, the short-time transform, and mel filters."""

from __future__ import annotations

import numpy as np

import graphc.numpy as gnp
from graphc.api import Array, ShapeError
from graphc_onnx.ops.common import dtype_of, element_type, integers, normal
from graphc_onnx.table import Row


def _turns(rows: int, columns: int, length: int, sign: float) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of 2 pi j k / length; whole turns are left out before the angle is rounded."""
    angle = (np.outer(np.arange(rows), np.arange(columns)) % length) * (2 * np.pi / length)
    return np.cos(angle), sign * np.sin(angle)


def fourier(x: Array, length: int | None, axis: int, inverse: bool, onesided: bool) -> Array:
    """The transform along an axis of [..., 1 or 2]: real or complex numbers. A product with a matrix."""
    place = normal(axis, len(x.shape))
    parts = [gnp.moveaxis(x[..., part], place, -1) for part in range(x.shape[-1])]
    halved = inverse and onesided
    size = length or (2 * (x.shape[place] - 1) if halved else x.shape[place])
    given = size // 2 + 1 if halved else size
    parts = [_of_length(part, given) for part in parts]
    dtype = dtype_of(x)
    count = size // 2 + 1 if onesided and not inverse else size
    cosine, sine = _turns(given, count, size, 1.0 if inverse else -1.0)
    if halved:  # the other half of the numbers is the conjugate of this one
        twice = np.full((given, 1), 2.0)
        twice[0] = 1.0
        if size % 2 == 0:
            twice[-1] = 1.0
        cosine, sine = cosine * twice, sine * twice
    if inverse:
        cosine, sine = cosine / size, sine / size
    c, s = cosine.astype(dtype), sine.astype(dtype)
    real, imaginary = gnp.matmul(parts[0], c), gnp.matmul(parts[0], s)
    if len(parts) == 2:
        real, imaginary = real - gnp.matmul(parts[1], s), imaginary + gnp.matmul(parts[1], c)
    results = [real] if halved else [real, imaginary]
    return gnp.stack([gnp.moveaxis(part, -1, place) for part in results], axis=-1)


def _of_length(x: Array, length: int) -> Array:
    """The last dim cut off or filled up with zeros."""
    have = x.shape[-1]
    if have >= length:
        return x[..., :length]
    return gnp.pad(x, [(0, 0)] * (len(x.shape) - 1) + [(0, length - have)])


def _dft(
    x: Array, length: Array | None = None, axis: Array | None = None, *, inverse: int = 0, onesided: int = 0
) -> Array:
    place = -2 if axis is None else integers(axis)[0]
    return fourier(x, None if length is None else integers(length)[0], place, bool(inverse), bool(onesided))


def _dft_by_attributes(
    x: Array, length: Array | None = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0
) -> Array:
    return fourier(x, None if length is None else integers(length)[0], axis, bool(inverse), bool(onesided))


def _stft(
    x: Array, frame_step: Array, window: Array | None = None, frame_length: Array | None = None, *, onesided: int = 1
) -> Array:
    """[batch, frames, frequencies, 2] of a signal [batch, length, 1 or 2]."""
    if frame_length is None and window is None:
        raise ShapeError("needs a window or a frame length")
    length = integers(frame_length)[0] if window is None else window.shape[0]
    step = integers(frame_step)[0]
    starts = np.arange(0, x.shape[1] - length + 1, step)
    frames = gnp.take(x, starts[:, None] + np.arange(length), axis=1)
    weighted = frames if window is None else frames * gnp.reshape(window, (-1, 1))
    return fourier(weighted, None, 2, inverse=False, onesided=bool(onesided))


def _mel_weights(
    bins: Array, length: Array, rate: Array, low: Array, high: Array, *, output_datatype: int = 1
) -> Array:
    """Triangles that are evenly spaced on the mel scale, over the frequencies of a transform."""
    count, size, sampled = integers(bins)[0], integers(length)[0], integers(rate)[0]
    edges = [2595 * np.log10(1 + float(np.asarray(edge)) / 700) for edge in (low, high)]
    steps = edges[0] + np.arange(count + 2) * ((edges[1] - edges[0]) / (count + 2))
    places = np.floor((size + 1) * (700 * (np.power(10, steps / 2595) - 1)) / sampled).astype(np.int64)
    weights = np.zeros((size // 2 + 1, count))
    for band in range(count):
        first, middle, last = places[band : band + 3]
        if middle == first:
            weights[middle, band] = 1
        else:
            rising = np.arange(first, middle + 1)
            weights[rising, band] = (rising - first) / (middle - first)
        if last > middle:
            falling = np.arange(middle, last)
            weights[falling, band] = (last - falling) / (last - middle)
    return weights.astype(element_type(output_datatype))


ROWS = [
    Row("DFT", 17, _dft_by_attributes, known=(1,), until=19),
    Row("DFT", 20, _dft, known=(1, 2)),
    Row("STFT", 17, _stft, known=(1, 3)),
    Row("MelWeightMatrix", 17, _mel_weights, known=(0, 1, 2, 3, 4)),
]
