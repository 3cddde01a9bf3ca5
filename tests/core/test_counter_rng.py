"""Philox known answers, and that the swap-or-not shuffle is a permutation and looks random."""

import numpy as np
import pytest

from graphc.core.counter_rng import philox4x32, shuffle_index

KNOWN = [  # kat_vectors of the Random123 library
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_philox_known_answers(counter: tuple[int, ...], key: tuple[int, ...], words: tuple[int, ...]) -> None:
    assert philox4x32(counter, key).tolist() == list(words)


def test_philox_broadcasts_keys() -> None:
    counters = np.arange(20, dtype=np.uint32).reshape(5, 4)
    together = philox4x32(counters, [1, 2])
    np.testing.assert_array_equal(together, [philox4x32(c, [1, 2]) for c in counters])


def round_keys(seed: int, rounds: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << 32, (rounds, 2), dtype=np.uint32)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 63, 64, 65, 100, 1000, 4096, 60000])
def test_shuffle_is_a_permutation(n: int) -> None:
    for seed in range(3):
        order = shuffle_index(np.arange(n), round_keys(seed), n)
        np.testing.assert_array_equal(np.sort(order), np.arange(n))


def test_shuffle_works_up_to_the_largest_n() -> None:
    n = 2**32 - 1
    x = np.array([0, 1, n // 2, n - 2, n - 1], np.uint32)
    got = shuffle_index(x, round_keys(0), n)
    assert len(set(got.tolist())) == 5 and got.max() < n
    assert got.tolist() != x.tolist()


def test_positions_are_uniform_over_keys() -> None:
    n, keys = 7, 3000
    counts = np.zeros((n, n))
    for seed in range(keys):
        order = shuffle_index(np.arange(n), round_keys(seed), n)
        counts[np.arange(n), order] += 1
    expected = keys / n
    chi_square = ((counts - expected) ** 2 / expected).sum()
    # (n - 1)**2 = 36 degrees of freedom: mean 36, deviation 8.5
    assert chi_square < 36 + 4 * 8.5


def test_shuffled_order_has_no_serial_correlation() -> None:
    n = 1000
    correlations = []
    for seed in range(20):
        order = shuffle_index(np.arange(n), round_keys(seed), n).astype(float)
        correlations.append(np.corrcoef(order[:-1], order[1:])[0, 1])
        assert abs(np.corrcoef(order, np.arange(n))[0, 1]) < 4.5 / np.sqrt(n)
    assert abs(np.mean(correlations)) < 4 / np.sqrt(n * 20)
    assert max(map(abs, correlations)) < 4.5 / np.sqrt(n)
