"""ONNX cases that graphc does not run, each with its reason. A pattern is a regular expression for the whole name."""

from __future__ import annotations

import re

SKIPS: tuple[tuple[str, str], ...] = ()


def reason_to_skip(name: str) -> str | None:
    """Why a case is not run; None for one that must pass."""
    return next((reason for pattern, reason in SKIPS if re.fullmatch(pattern, name)), None)
