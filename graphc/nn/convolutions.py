"""Convolutions and pooling as layers: PyTorch's names, defaults, layouts and initial distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import graphc.numpy as gnp
from graphc.api import ArgumentError, Array
from graphc.nn import functional as F
from graphc.nn import init
from graphc.nn.layers import positive
from graphc.nn.module import Module, Parameter
from graphc.nn.windows import Sizes, tuple_of

_PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def positive_each(name: str, what: str, size: Sizes, rank: int) -> None:
    """Raise `ArgumentError` unless it is a positive integer, or one for each dim."""
    for each in tuple_of(name, size, rank, what):
        positive(name, **{what: each})


class _Kernels(Module):
    """What all convolutions have: kernels [first, second / groups, ...] and one bias per output channel.

    Both start uniform within 1 / sqrt(fan in), as in PyTorch.
    """

    weight: Array
    bias: Array | None
    rank = 0

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes,
        dilation: Sizes,
        groups: int,
        has_bias: bool,
        transposed: bool,
        dtype: str,
        key: Array | None,
    ) -> None:
        name = type(self).__name__
        positive(name, in_channels=in_channels, out_channels=out_channels, groups=groups)
        for what, size in (("kernel_size", kernel_size), ("stride", stride), ("dilation", dilation)):
            positive_each(name, what, size, self.rank)
        if in_channels % groups or out_channels % groups:
            raise ArgumentError(f"{name}: {groups} groups do not divide {in_channels} and {out_channels} channels")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = tuple_of(name, kernel_size, self.rank)
        self.stride, self.dilation = tuple_of(name, stride, self.rank), tuple_of(name, dilation, self.rank)
        first, second = (in_channels, out_channels) if transposed else (out_channels, in_channels)
        shape = (first, second // groups, *self.kernel_size)
        weight_key, bias_key = init.split_key(key)
        self.weight = Parameter(init.kaiming_uniform(shape, a=math.sqrt(5), key=weight_key, dtype=dtype))  # type: ignore[assignment]
        self.bias = None
        if has_bias:
            bound = 1 / math.sqrt(init.fans(shape)[0])
            self.bias = Parameter(init.uniform((out_channels,), -bound, bound, key=bias_key, dtype=dtype))  # type: ignore[assignment]

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        parts += [f"dilation={self.dilation}"] if set(self.dilation) != {1} else []
        parts += [f"groups={self.groups}"] if self.groups > 1 else []
        return ", ".join([*parts, f"bias={self.bias is not None}"])


class _Conv(_Kernels):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: str | Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        dtype: str = "float32",
        key: Array | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation, groups, bias, False, dtype, key)
        name = type(self).__name__
        if padding_mode not in _PAD_MODES:
            raise ArgumentError(f"{name}: padding_mode={padding_mode!r}; use one of {', '.join(_PAD_MODES)}")
        if isinstance(padding, str) and (
            padding not in ("same", "valid") or (padding == "same" and set(self.stride) != {1})
        ):
            raise ArgumentError(f"{name}: padding={padding!r} with stride {self.stride}; 'same' needs a stride of 1")
        self.padding = padding if isinstance(padding, str) else tuple_of(name, padding, self.rank, "padding")
        self.padding_mode = padding_mode

    def _padded(self, x: Array) -> Array:
        """Padded by other than zeros."""
        if isinstance(self.padding, str):
            reach = [d * (k - 1) if self.padding == "same" else 0 for k, d in zip(self.kernel_size, self.dilation)]
            widths = [(r // 2, r - r // 2) for r in reach]
        else:
            widths = [(p, p) for p in self.padding]
        outer = [(0, 0)] * (len(x.shape) - self.rank)
        return gnp.pad(x, [*outer, *widths], mode=_PAD_MODES[self.padding_mode])

    def forward(self, x: Array) -> Array:
        conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[self.rank]
        padding: str | Sequence[int] = self.padding
        if self.padding_mode != "zeros":
            x, padding = self._padded(x), (0,) * self.rank
        return conv(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, padding={self.padding!r}"


class Conv1d(_Conv):
    """`nn.functional.conv1d` with weight [out, in / groups, k] and bias [out]."""

    rank = 1


class Conv2d(_Conv):
    """`nn.functional.conv2d` with weight [out, in / groups, kh, kw] and bias [out]."""

    rank = 2


class Conv3d(_Conv):
    """`nn.functional.conv3d` with weight [out, in / groups, kd, kh, kw] and bias [out]."""

    rank = 3


class _ConvTranspose(_Kernels):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        *,
        dtype: str = "float32",
        key: Array | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation, groups, bias, True, dtype, key)
        name = type(self).__name__
        self.padding = tuple_of(name, padding, self.rank, "padding")
        self.output_padding = tuple_of(name, output_padding, self.rank, "output_padding")

    def forward(self, x: Array) -> Array:
        conv = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[self.rank]
        further = self.output_padding
        return conv(x, self.weight, self.bias, self.stride, self.padding, further, self.groups, self.dilation)


class ConvTranspose1d(_ConvTranspose):
    """`nn.functional.conv_transpose1d` with weight [in, out / groups, k] and bias [out]."""

    rank = 1


class ConvTranspose2d(_ConvTranspose):
    """`nn.functional.conv_transpose2d` with weight [in, out / groups, kh, kw] and bias [out]."""

    rank = 2


class ConvTranspose3d(_ConvTranspose):
    """`nn.functional.conv_transpose3d` with weight [in, out / groups, kd, kh, kw] and bias [out]."""

    rank = 3


def _check_window(name: str, rank: int, kernel_size: Sizes, stride: Sizes | None, padding: Sizes) -> None:
    positive_each(name, "kernel_size", kernel_size, rank)
    if stride is not None:
        positive_each(name, "stride", stride, rank)
    tuple_of(name, padding, rank, "padding")


class _MaxPool(Module):
    rank = 0

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
    ) -> None:
        _check_window(type(self).__name__, self.rank, kernel_size, stride, padding)
        positive_each(type(self).__name__, "dilation", dilation, self.rank)
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def forward(self, x: Array) -> Array:
        pool = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[self.rank]
        return pool(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool1d(_MaxPool):
    """`nn.functional.max_pool1d`."""

    rank = 1


class MaxPool2d(_MaxPool):
    """`nn.functional.max_pool2d`."""

    rank = 2


class MaxPool3d(_MaxPool):
    """`nn.functional.max_pool3d`."""

    rank = 3


class _AvgPool(Module):
    rank = 0

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        if self.rank == 1 and divisor_override is not None:
            raise ArgumentError("AvgPool1d: takes no divisor_override")
        _check_window(type(self).__name__, self.rank, kernel_size, stride, padding)
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, x: Array) -> Array:
        rows = (self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
        if self.rank == 1:
            return F.avg_pool1d(x, *rows)
        return (F.avg_pool2d if self.rank == 2 else F.avg_pool3d)(x, *rows, self.divisor_override)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    """`nn.functional.avg_pool1d`."""

    rank = 1


class AvgPool2d(_AvgPool):
    """`nn.functional.avg_pool2d`."""

    rank = 2


class AvgPool3d(_AvgPool):
    """`nn.functional.avg_pool3d`."""

    rank = 3


class _AdaptiveAvgPool(Module):
    rank = 0

    def __init__(self, output_size: int | Sequence[int | None]) -> None:
        name = type(self).__name__
        for size in output_size if isinstance(output_size, Sequence) else (output_size,):
            if size is not None:
                positive_each(name, "output_size", size, self.rank)
        self.output_size = output_size

    def forward(self, x: Array) -> Array:
        pool = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}[self.rank]
        return pool(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """`nn.functional.adaptive_avg_pool1d`."""

    rank = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """`nn.functional.adaptive_avg_pool2d`."""

    rank = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """`nn.functional.adaptive_avg_pool3d`."""

    rank = 3
