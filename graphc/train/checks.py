"""Checks of arguments as they come from a caller: of any type, whatever the signature says."""

from __future__ import annotations

import math
import warnings

import numpy as np

from graphc.api import ArgumentError, here


def check_whole(name: str, value: object, least: int, below: int | None = None) -> None:
    """Raise `ArgumentError` unless `value` is an integer (not a bool), at least `least` and less than `below`."""
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if is_whole and value >= least and (below is None or value < below):  # type: ignore[operator]
        return
    limits = f"at least {least}" + (f" and below {below}" if below is not None else "")
    raise ArgumentError(f"{name}={value!r} must be a whole number, {limits}")


def check_positive(name: str, value: object) -> None:
    """Raise `ArgumentError` unless `value` is a finite number above 0."""
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not (is_number and math.isfinite(value) and value > 0):  # type: ignore[arg-type, operator]
        raise ArgumentError(f"{name}={value!r} must be a finite number above 0")


def warn(message: str) -> None:
    """A `RuntimeWarning` at the user's line."""
    place = here()
    warnings.warn_explicit(message, RuntimeWarning, place.file, place.line)
