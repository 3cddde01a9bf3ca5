"""Random numbers from keys: `gc.random.normal(key, shape)` is a function of its arguments and nothing else.

A key is a uint32[2] array, traced or not. Draw from a key once; make more with `split` or `fold_in`. The generator is
Philox 4x32-10 (Salmon, Moraes, Dror and Shaw, SC 2011). All draws are identical on every backend, with any number of
threads, and in a batch of keys (`gc.vmap`) as for each key alone.
"""

from graphc.random.choosing import choice
from graphc.random.continuous import exponential, gumbel, laplace, logistic, normal, truncated_normal, uniform
from graphc.random.discrete import bernoulli, categorical, randint
from graphc.random.gamma_variates import beta, dirichlet, gamma
from graphc.random.keys import bits, fold_in, key, split
from graphc.random.permutations import permutation, shuffle
from graphc.random.poisson_variates import poisson

__all__ = [
    "bernoulli",
    "beta",
    "bits",
    "categorical",
    "choice",
    "dirichlet",
    "exponential",
    "fold_in",
    "gamma",
    "gumbel",
    "key",
    "laplace",
    "logistic",
    "normal",
    "permutation",
    "poisson",
    "randint",
    "shuffle",
    "split",
    "truncated_normal",
    "uniform",
]
