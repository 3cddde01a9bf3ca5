"""Functions whose shape depends on data: errors that say what to use instead."""

from typing import NoReturn

from graphc.core.errors import UnsupportedError
from graphc.tracing.context import ArrayLike, with_line


def _depends_on_data(name: str, instead: str) -> UnsupportedError:
    return UnsupportedError(
        with_line(f"{name}: the shape of the result depends on data, which a compiled program cannot hold; {instead}")
    )


def nonzero(x: ArrayLike) -> NoReturn:
    """Raises `UnsupportedError`: the shape would depend on data. That of `where` and of `count_nonzero` does not.

    >>> import graphc.numpy as gnp
    >>> gnp.nonzero([0, 1])  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    graphc.core.errors.UnsupportedError: nonzero: the shape of the result depends on data
    """
    raise _depends_on_data("nonzero", "use where(x != 0, a, b), or count_nonzero(x); outside programs np.nonzero(x)")


_INSTEAD_OF_UNIQUE = "use sort(x), whose equal elements are neighbours; outside programs NumPy's"


def unique_all(x: ArrayLike) -> NoReturn:
    """Raises `UnsupportedError`: the shape would depend on data.

    >>> import graphc.numpy as gnp
    >>> gnp.unique_all([0, 1])  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    graphc.core.errors.UnsupportedError: unique_all: the shape of the result depends on data
    """
    raise _depends_on_data("unique_all", _INSTEAD_OF_UNIQUE)


def unique_counts(x: ArrayLike) -> NoReturn:
    """Raises `UnsupportedError`: the shape would depend on data.

    >>> import graphc.numpy as gnp
    >>> gnp.unique_counts([0, 1])  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    graphc.core.errors.UnsupportedError: unique_counts: the shape of the result depends on data
    """
    raise _depends_on_data("unique_counts", _INSTEAD_OF_UNIQUE)


def unique_inverse(x: ArrayLike) -> NoReturn:
    """Raises `UnsupportedError`: the shape would depend on data.

    >>> import graphc.numpy as gnp
    >>> gnp.unique_inverse([0, 1])  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    graphc.core.errors.UnsupportedError: unique_inverse: the shape of the result depends on data
    """
    raise _depends_on_data("unique_inverse", _INSTEAD_OF_UNIQUE)


def unique_values(x: ArrayLike) -> NoReturn:
    """Raises `UnsupportedError`: the shape would depend on data.

    >>> import graphc.numpy as gnp
    >>> gnp.unique_values([0, 1])  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    graphc.core.errors.UnsupportedError: unique_values: the shape of the result depends on data
    """
    raise _depends_on_data("unique_values", _INSTEAD_OF_UNIQUE)
