"""Small problems whose derivatives are known by hand, to the last bit or digit."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import graphc as gc
import graphc.numpy as gnp


def test_two_weights_two_weights_one_output() -> None:
    """x = 1, w11 = 2, w12 = -1, w21 = 1, w22 = 3, rectifiers, half the squared distance to 1: exact."""

    def forward(w11: Any, w12: Any, w21: Any, w22: Any) -> Any:
        x = 1.0
        z = w21 * gnp.maximum(w11 * x, 0) + w22 * gnp.maximum(w12 * x, 0)
        return 0.5 * (z - 1) ** 2, z

    weights = [np.float64(w) for w in (2, -1, 1, 3)]
    for compile in (lambda f: f, gc.jit):
        fn = compile(gc.value_and_grad(forward, argnums=(0, 1, 2, 3), has_aux=True))
        (loss, z), gradient = fn(*weights)
        assert float(z) == 2.0
        assert float(loss) == 0.5
        assert [float(g) for g in gradient] == [1.0, 0.0, 2.0, 0.0]


def test_vanishing_gradients_of_fifty_layers() -> None:
    """A chain of sigmoids with weights and biases from N(0, 0.1^2): the gradient shrinks by |w| s'(u), at most about
    0.25 * 0.1, in each layer. In float64 no factor of it is lost, whatever is fused; the chain rule gives every one.
    """
    layers = 50
    rng = np.random.default_rng(50)
    w, b = rng.normal(0, 0.1, layers), rng.normal(0, 0.1, layers)

    def chain(w: Any, b: Any, wrap: Any = lambda f: f) -> Any:
        z: Any = 0.5
        layer = wrap(lambda z, w, b: 1 / (1 + gnp.exp(-(w * z + b))))
        for i in range(layers):
            z = layer(z, w[i], b[i])
        return z

    zs = [0.5]
    for weight, bias in zip(w, b, strict=True):
        zs.append(1 / (1 + np.exp(-(weight * zs[-1] + bias))))
    want = np.zeros(layers)
    v = 1.0
    for i in reversed(range(layers)):
        v *= zs[i + 1] * (1 - zs[i + 1])
        want[i] = v
        v *= w[i]
    assert 1e-110 < abs(want[0]) < 1e-70  # by far too small for float32
    ratios = np.abs(want[:-1] / want[1:])
    assert 0.005 < np.exp(np.mean(np.log(ratios))) < 0.05
    for wrap in (lambda f: f, gc.jit, gc.checkpoint):
        by_w, by_b = gc.grad(lambda w, b, wrap=wrap: chain(w, b, wrap), argnums=(0, 1))(w, b)
        np.testing.assert_allclose(by_b, want, rtol=1e-11)
        np.testing.assert_allclose(by_w, want * np.array(zs[:-1]), rtol=1e-11)

    def scanned(w: Any, b: Any) -> Any:
        start = gnp.asarray(0.5, "float64")
        return gc.scan(lambda z, row: (1 / (1 + gnp.exp(-(row[0] * z + row[1]))), None), start, (w, b))[0]

    np.testing.assert_allclose(gc.grad(scanned, argnums=1)(w, b), want, rtol=1e-11)


def test_smallest_gradients_are_denormal_numbers() -> None:
    """Products of many small factors end in denormal numbers, which are kept."""
    factor = 2.0**-60
    got = gc.grad(lambda x: factor * (factor * (factor * (x * 2.0**-860))))(np.float64(1))
    assert float(got) == 2.0**-1040 > 0


def test_backpropagation() -> None:
    """The recursion itself, on z_i = s(W_i z_{i-1} + b_i): v_i = s'(u_i) * r_i, db_i = v_i, dW_i = v_i z_{i-1}^T,
    r_{i-1} = W_i^T v_i.
    """
    rng = np.random.default_rng(9)
    widths = (4, 6, 5, 3, 1)
    weights = [rng.normal(size=(n, m)) for m, n in itertools.pairwise(widths)]
    biases = [rng.normal(size=n) for n in widths[1:]]
    x = rng.normal(size=widths[0])

    def forward(weights: Any, biases: Any, x: Any) -> Any:
        z = x
        for w, b in zip(weights, biases, strict=True):
            z = gnp.tanh(w @ z + b)
        return z[0]

    zs = [x]
    for w, b in zip(weights, biases, strict=True):
        zs.append(np.tanh(w @ zs[-1] + b))
    r: Any = np.ones(1)
    d_weights, d_biases = [], []
    for w, z_before, z in zip(reversed(weights), reversed(zs[:-1]), reversed(zs[1:]), strict=True):
        v = (1 - z * z) * r
        d_biases.insert(0, v)
        d_weights.insert(0, np.outer(v, z_before))
        r = w.T @ v
    got = gc.jit(gc.grad(forward, argnums=(0, 1, 2)))(weights, biases, x)
    want = (d_weights, d_biases, r)
    for mine, by_hand in zip(gc.pytree.flatten(got)[0], gc.pytree.flatten(want)[0], strict=True):
        np.testing.assert_allclose(mine, by_hand, rtol=1e-12)


def test_backpropagation_is_products_with_transposes() -> None:
    """The graph of the gradient: as many products as the recursion has, and no transpose is written."""

    def forward(weights: Any, x: Any) -> Any:
        for w in weights:
            x = gnp.tanh(x @ w)
        return gnp.sum(x)

    weights = [gc.spec((8, 8), "float64")] * 3
    text = gc.compile(gc.grad(forward), weights, gc.spec((16, 8), "float64")).text("optimized")
    assert text.count("= dot_general(") == 3 + 3 + 2  # forward, weights, signals (none is needed for x)
    assert "transpose(" not in text
