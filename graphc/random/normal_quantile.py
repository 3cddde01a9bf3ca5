"""The quantile function of the normal distribution (Wichura, algorithm AS 241, Applied Statistics 37, 1988)."""

import math
from collections.abc import Sequence

from graphc.core.dtypes import DType
from graphc.graph.ops import elementwise as ops
from graphc.random.logarithm import log, polynomial
from graphc.tracing.bind import bind1
from graphc.tracing.context import Array

# AS 241: numerators and denominators for the centre (in 0.180625 - q**2), the tail up to r = 5 (in r - 1.6) and beyond
# (in r - 5), with r = sqrt(-log(p)). PPND7 has about 7 digits, PPND16 about 16.
_CENTRE = {
    "float32": (
        (3.3871327179e0, 5.0434271938e1, 1.5929113202e2, 5.9109374720e1),
        (1.0, 1.7895169469e1, 7.8757757664e1, 6.7187563600e1),
    ),
    "float64": (
        (
            3.3871328727963666080e0,
            1.3314166789178437745e2,
            1.9715909503065514427e3,
            1.3731693765509461125e4,
            4.5921953931549871457e4,
            6.7265770927008700853e4,
            3.3430575583588128105e4,
            2.5090809287301226727e3,
        ),
        (
            1.0,
            4.2313330701600911252e1,
            6.8718700749205790830e2,
            5.3941960214247511077e3,
            2.1213794301586595867e4,
            3.9307895800092710610e4,
            2.8729085735721942674e4,
            5.2264952788528545610e3,
        ),
    ),
}
_TAIL = {
    "float32": (
        (1.4234372777e0, 2.7568153900e0, 1.3067284816e0, 1.7023821103e-1),
        (1.0, 7.3700164250e-1, 1.2021132975e-1),
    ),
    "float64": (
        (
            1.42343711074968357734e0,
            4.63033784615654529590e0,
            5.76949722146069140550e0,
            3.64784832476320460504e0,
            1.27045825245236838258e0,
            2.41780725177450611770e-1,
            2.27238449892691845833e-2,
            7.74545014278341407640e-4,
        ),
        (
            1.0,
            2.05319162663775882187e0,
            1.67638483018380384940e0,
            6.89767334985100004550e-1,
            1.48103976427480074590e-1,
            1.51986665636164571966e-2,
            5.47593808499534494600e-4,
            1.05075007164441684324e-9,
        ),
    ),
}
_FAR_TAIL = {
    "float32": (
        (6.6579051150e0, 3.0812263860e0, 4.2868294337e-1, 1.7337203997e-2),
        (1.0, 2.4197894225e-1, 1.2258202635e-2),
    ),
    "float64": (
        (
            6.65790464350110377720e0,
            5.46378491116411436990e0,
            1.78482653991729133580e0,
            2.96560571828504891230e-1,
            2.65321895265761230930e-2,
            1.24266094738807843860e-3,
            2.71155556874348757815e-5,
            2.01033439929228813265e-7,
        ),
        (
            1.0,
            5.99832206555887937690e-1,
            1.36929880922735805310e-1,
            1.48753612908506148525e-2,
            7.86869131145613259100e-4,
            1.84631831751005468180e-5,
            1.42151175831644588870e-7,
            2.04426310338993978564e-15,
        ),
    ),
}


def normal_quantile(p: Array, dtype: DType, smallest: float) -> Array:
    """The x >= 0 that a standard normal exceeds with probability p in (0, 1/2], where no p is below `smallest`."""
    q = bind1(ops.sub, 0.5, p)
    inner = bind1(ops.sub, 0.180625, bind1(ops.mul, q, q))
    centre = bind1(ops.mul, q, _ratio(inner, _CENTRE[dtype.name]))
    r = bind1(ops.sqrt, bind1(ops.neg, log(p, dtype)))
    tail = _ratio(bind1(ops.sub, r, 1.6), _TAIL[dtype.name])
    if math.sqrt(-math.log(smallest)) <= 5:
        return bind1(ops.select, bind1(ops.le, q, 0.425), centre, tail)
    far = _ratio(bind1(ops.sub, r, 5.0), _FAR_TAIL[dtype.name])
    tail = bind1(ops.select, bind1(ops.le, r, 5.0), tail, far)
    return bind1(ops.select, bind1(ops.le, q, 0.425), centre, tail)


def _ratio(x: Array, coefficients: tuple[Sequence[float], Sequence[float]]) -> Array:
    numerator, denominator = coefficients
    return bind1(ops.div, polynomial(x, numerator), polynomial(x, denominator))
