"""Discrete Fourier transforms, the short-time transform, and mel filters."""

from __future__ import annotations

import numpy as np

import graphc.numpy as gnp
from graphc.api import Array, ShapeError
from graphc_onnx.ops.common import dtype_of, element_type, integers, normal
from graphc_onnx.table import Row


def fourier(x: Array, length: int | None, axis: int, inverse: bool, onesided: bool) -> Array:
    """The transform along an axis of [..., 1 or 2]: real or complex numbers."""
    place, dtype = normal(axis, len(x.shape)), dtype_of(x)
    parts = [x[..., part] for part in range(x.shape[-1])]
    if dtype not in ("float32", "float64"):
        parts = [part.astype("float32") for part in parts]
    whole = gnp.complex(*parts) if len(parts) == 2 else parts[0]
    size = length or (2 * (x.shape[place] - 1) if inverse and onesided else x.shape[place])
    if inverse and onesided:
        return gnp.fft.irfft(whole, size, place)[..., None].astype(dtype)
    if onesided and len(parts) == 1:
        found = gnp.fft.rfft(whole, size, place)
    else:
        found = (gnp.fft.ifft if inverse else gnp.fft.fft)(whole, size, place)
        found = gnp.take(found, np.arange(size // 2 + 1), axis=place) if onesided else found
    return gnp.stack([gnp.real(found), gnp.imag(found)], axis=-1).astype(dtype)


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
