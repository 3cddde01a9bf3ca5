"""Minimax polynomials of `graphc.kernel.math`: `python -m tools.minimax` prints graphc/kernel/math/coefficients.py.

Each row of `FITS` is a function, its interval, and a degree per dtype. The polynomial's largest weighted error is made
as small as it gets by Remez's exchange algorithm in 60-digit arithmetic; the coefficients are then rounded to the
dtype. Needs mpmath.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mpmath import mp, mpf

mp.dps = 60
TWO_OVER_PI_BITS = 1216
Function = Callable[[mpf], mpf]


@dataclass(frozen=True)
class Fit:
    """Approximate `function` on [low, high] with error measured relative to `scale` (None: to the function)."""

    name: str
    meaning: str
    function: Function
    low: mpf
    high: mpf
    degree32: int | None
    degree64: int | None
    scale: Function | None = None


def remez(function: Function, scale: Function, low: mpf, high: mpf, degree: int) -> tuple[list[mpf], mpf]:
    """Coefficients, constant first, and the largest error divided by `scale`."""
    count = degree + 2
    middle, half = (low + high) / 2, (high - low) / 2
    nodes = [middle - half * mp.cos(mp.pi * i / (count - 1)) for i in range(count)]
    grid = [middle - half * mp.cos(mp.pi * i / (24 * count)) for i in range(24 * count + 1)]
    exact = [function(x) for x in grid]
    weights = [1 / scale(x) for x in grid]
    coefficients: list[mpf] = []
    for _ in range(12):
        rows = mp.matrix(count, count)
        right = mp.matrix(count, 1)
        for i, x in enumerate(nodes):
            for power in range(degree + 1):
                rows[i, power] = ((x - middle) / half) ** power
            rows[i, count - 1] = (-1) ** i * scale(x)
            right[i] = function(x)
        solution = mp.lu_solve(rows, right)
        coefficients = list(solution[: count - 1])
        errors = [
            (mp.polyval(coefficients[::-1], (x - middle) / half) - f) * w for x, f, w in zip(grid, exact, weights)
        ]
        nodes, worst = _alternation(grid, errors, count)
        if worst <= abs(solution[count - 1]) * mpf("1.02"):
            break
    return _unscale(coefficients, middle, half), worst


def _alternation(grid: list[mpf], errors: list[mpf], count: int) -> tuple[list[mpf], mpf]:
    """One extremum per run of equal sign; when there are too many, the smallest at the ends go."""
    runs: list[int] = []
    for i, error in enumerate(errors):
        if runs and (errors[runs[-1]] > 0) == (error > 0):
            runs[-1] = max(runs[-1], i, key=lambda k: abs(errors[k]))
        else:
            runs.append(i)
    while len(runs) > count:
        runs.pop(0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1)
    if len(runs) < count:
        raise ValueError("the error does not alternate often enough: ask for a lower degree")
    return [grid[i] for i in runs], max(abs(e) for e in errors)


def _unscale(coefficients: list[mpf], middle: mpf, half: mpf) -> list[mpf]:
    """From powers of (x - middle) / half to powers of x."""
    result = [mpf(0)] * len(coefficients)
    power = [mpf(1)]
    for c in coefficients:
        for i, p in enumerate(power):
            result[i] += c * p
        shifted = [mpf(0), *power]
        for i, p in enumerate(power):
            shifted[i] -= p * middle
        power = [p / half for p in shifted]
    return result


def _series(function: Function, series: Callable[[mpf], mpf]) -> Function:
    """`function`, but near 0, where it cancels, a Taylor series."""
    return lambda x: series(x) if abs(x) < mpf("1e-10") else function(x)


HALF_LN2 = mp.log(2) / 2 * mpf("1.001")
QUARTER_PI = mp.pi / 4 * mpf("1.001")
LOG_LOW, LOG_HIGH = mp.sqrt(2) / 2 - 1 - mpf("1e-4"), mp.sqrt(2) - 1 + mpf("1e-4")
SPLIT = mpf("2.5")  # erfc: t = (x - SPLIT) / (x + SPLIT)


def _erfcx(t: mpf) -> mpf:
    x = SPLIT * (1 + t) / (1 - t)
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)


FITS = (
    Fit(
        "EXP",
        "(exp(x) - 1 - x) / x**2",
        _series(lambda x: (mp.expm1(x) - x) / x**2, lambda x: mpf(1) / 2 + x / 6 + x * x / 24),
        -HALF_LN2,
        HALF_LN2,
        4,
        10,
    ),
    Fit(
        "EXP2",
        "(2**x - 1) / x",
        _series(lambda x: mp.expm1(x * mp.log(2)) / x, lambda x: mp.log(2) + x * mp.log(2) ** 2 / 2),
        mpf("-0.5005"),
        mpf("0.5005"),
        5,
        11,
    ),
    Fit(
        "LOG",
        "(log(1 + x) - x + x**2 / 2) / x**3",
        _series(lambda x: (mp.log1p(x) - x + x * x / 2) / x**3, lambda x: mpf(1) / 3 - x / 4 + x * x / 5),
        LOG_LOW,
        LOG_HIGH,
        8,
        None,
    ),
    Fit(
        "ATANH",
        "(atanh(s) - s) * 2 / s**3 of z = s**2",
        _series(lambda z: 2 * (mp.atanh(mp.sqrt(z)) - mp.sqrt(z)) / mp.sqrt(z) ** 3, lambda z: mpf(2) / 3 + 2 * z / 5),
        mpf(0),
        mpf("0.02950"),
        None,
        6,
    ),
    Fit(
        "ATANH5",
        "(atanh(s) - s - s**3 / 3) * 2 / s**5 of z = s**2",
        lambda z: (
            2 * (mpf(1) / 5 + z / 7 + z * z / 9)
            if z < mpf("1e-10")
            else 2 * (mp.atanh(mp.sqrt(z)) - mp.sqrt(z) - mp.sqrt(z) ** 3 / 3) / mp.sqrt(z) ** 5
        ),
        mpf(0),
        mpf("0.02950"),
        None,
        7,
    ),
    Fit(
        "SIN",
        "(sin(x) - x) / x**3 of z = x**2",
        _series(
            lambda z: (mp.sin(mp.sqrt(z)) - mp.sqrt(z)) / mp.sqrt(z) ** 3,
            lambda z: -1 / mpf(6) + z / 120,
        ),
        mpf(0),
        QUARTER_PI**2,
        3,
        6,
    ),
    Fit(
        "COS",
        "(cos(x) - 1 + x**2 / 2) / x**4 of z = x**2",
        _series(lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2, lambda z: mpf(1) / 24 - z / 720 + z * z / 40320),
        mpf(0),
        QUARTER_PI**2,
        3,
        6,
    ),
    Fit(
        "TANH",
        "(tanh(x) - x) / x**3 of z = x**2",
        _series(
            lambda z: (mp.tanh(mp.sqrt(z)) - mp.sqrt(z)) / mp.sqrt(z) ** 3,
            lambda z: -mpf(1) / 3 + 2 * z / 15 - 17 * z * z / 315,
        ),
        mpf(0),
        mpf("0.5626"),
        5,
        13,
    ),
    Fit(
        "ATAN",
        "(atan(x) - x) / x**3 of z = x**2",
        _series(
            lambda z: (mp.atan(mp.sqrt(z)) - mp.sqrt(z)) / mp.sqrt(z) ** 3,
            lambda z: -mpf(1) / 3 + z / 5 - z * z / 7,
        ),
        mpf(0),
        mpf("0.1915"),
        4,
        10,
    ),
    Fit(
        "ERF",
        "erf(x) / x - 1 of z = x**2",
        lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1 if z > mpf("1e-30") else 2 / mp.sqrt(mp.pi) - 1,
        mpf(0),
        mpf("1.001"),
        6,
        12,
        lambda z: mpf(1),
    ),
    Fit(
        "ERF_TAIL", "-log(erfc(x))", lambda x: -mp.log(mp.erfc(x)), mpf("0.999"), mpf("4.0"), 8, None, lambda x: mpf(1)
    ),
    Fit(
        "ERFC",
        f"(1 + 2 * x) * exp(x**2) * erfc(x) of t = (x - {SPLIT}) / (x + {SPLIT})",
        _erfcx,
        (mpf("0.499") - SPLIT) / (mpf("0.499") + SPLIT),
        (mpf("28") - SPLIT) / (mpf("28") + SPLIT),
        9,
        22,
    ),
)


def rounded(value: mpf, bits: int) -> float:
    """The nearest number of the dtype."""
    return float(np.float32(float(value))) if bits == 32 else float(value)


def table() -> str:
    """The text of coefficients.py."""
    lines = [
        '"""Polynomial coefficients, constant first, as printed by `python -m tools.minimax`: edit that, not this."""',
        "",
    ]
    for fit in FITS:
        for bits, degree in ((32, fit.degree32), (64, fit.degree64)):
            if degree is None:
                continue
            coefficients, worst = remez(fit.function, fit.scale or fit.function, fit.low, fit.high, degree)
            lines.append(f"# {fit.meaning}, x in [{mp.nstr(fit.low, 5)}, {mp.nstr(fit.high, 5)}]")
            lines.append(f"# largest error before rounding: 2**{mp.nstr(mp.log(worst, 2), 4)}")
            lines.append(f"{fit.name}_{bits} = (")
            lines += [f"    {rounded(c, bits)!r}," for c in coefficients]
            lines += [")", ""]
    with mp.workdps(420):
        digits = int(mp.floor(2 / mp.pi * mpf(2) ** TWO_OVER_PI_BITS))
    lines += ["# the bits of 2 / pi after the point, in words of 64 bits", "TWO_OVER_PI = ("]
    for shift in range(TWO_OVER_PI_BITS - 64, -1, -64):
        lines.append(f"    0x{digits >> shift & (1 << 64) - 1:016X},")
    lines += [")", ""]
    for name, value in (("LN2", mp.log(2)), ("HALF_PI", mp.pi / 2), ("TWO_THIRDS", mpf(2) / 3)):
        for bits in (32, 64):
            high = rounded(value, bits)
            lines.append(f"{name}_{bits} = ({high!r}, {rounded(value - mpf(high), bits)!r})  # high and low part")
    for bits in (32, 64):
        lines.append("# arctangents of 1/2, 1, 3/2 and infinity, high and low part")
        lines.append(f"ATAN_AT_{bits} = (")
        for value in (mp.atan(mpf(1) / 2), mp.pi / 4, mp.atan(mpf(3) / 2), mp.pi / 2):
            high = rounded(value, bits)
            lines.append(f"    ({high!r}, {rounded(value - mpf(high), bits)!r}),")
        lines.append(")")
    high = mpf(mp.floor(mp.log(2) * 2**42)) / 2**42
    lines.append("# 42 bits, so that a multiple by an exponent is exact, and the rest")
    lines.append(f"LN2_SHORT = ({float(high)!r}, {float(mp.log(2) - high)!r})")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
