"""The object cache survives damage, unwritable folders and its own size bound."""

import os
import random
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from graphc.runtime import cache
from graphc.runtime.cache import ObjectCache


def objects(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".added")


def test_what_is_put_is_found(tmp_path: Path) -> None:
    store = ObjectCache(tmp_path / "objects")
    key = store.key("llvm", "text")
    assert store.get(key) is None
    store.put(key, b"code")
    assert store.get(key) == b"code"
    assert objects(tmp_path / "objects") == [key]


def test_keys_separate_their_parts() -> None:
    assert ObjectCache.key("ab", "c") != ObjectCache.key("a", "bc")


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: b"", lambda d: d[:-1] + b"?", lambda d: b"x" + d])
def test_a_damaged_object_is_a_miss_and_goes(tmp_path: Path, damage) -> None:
    store = ObjectCache(tmp_path)
    store.put("key", b"code")
    path = tmp_path / "key"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(RuntimeWarning, match="damaged"):
        assert store.get("key") is None
    assert not path.exists()


def test_the_oldest_objects_are_evicted(tmp_path: Path) -> None:
    store = ObjectCache(tmp_path, bound=8 * 1024)
    for number in range(7):
        store.put(f"k{number}", bytes(900))
        os.utime(tmp_path / f"k{number}", (number, number))
    assert store.get("k0") is not None  # now the newest
    for number in range(7, 10):
        store.put(f"k{number}", bytes(900))
    found = objects(tmp_path)
    assert len(found) in (7, 8)
    assert found == ["k0", *[f"k{number}" for number in range(11 - len(found), 10)]]


def test_the_bound_holds_for_any_sizes(tmp_path: Path) -> None:
    bound = 64 * 1024
    store = ObjectCache(tmp_path, bound)
    for number, size in enumerate(np.random.default_rng(0).integers(1, bound // 4, 200)):
        store.put(f"k{number}", bytes(int(size)))
        assert sum((tmp_path / name).stat().st_size for name in objects(tmp_path)) <= bound
    assert store.get("k199") is not None


def test_an_object_that_would_push_out_the_others_is_not_kept(tmp_path: Path) -> None:
    store = ObjectCache(tmp_path, bound=8000)
    store.put("small", bytes(1000))
    store.put("large", bytes(2001))
    assert objects(tmp_path) == ["small"]


def test_the_folder_is_looked_through_rarely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: (looks.append(folder), real(folder))[1])
    store = ObjectCache(tmp_path, bound=800 * 1024)
    for number in range(250):
        store.put(f"k{number}", bytes(900))
    assert len(looks) == 3  # the first time, and after every eighth of the bound


@pytest.mark.parametrize("note", [b"", b"?", bytes(100_000)])
def test_a_damaged_note_of_sizes_is_only_an_early_look(tmp_path: Path, note: bytes) -> None:
    store = ObjectCache(tmp_path, bound=8 * 1024)
    for number in range(30):
        store.put(f"k{number}", bytes(900))
        if number == 13:
            (tmp_path / ".added").write_bytes(note)
    assert len(objects(tmp_path)) <= 8
    assert store.get("k29") is not None


def test_a_folder_that_is_cleared_meanwhile_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectCache(tmp_path / "objects")
    real = os.replace

    def cleared(source: str, target: str) -> None:
        os.unlink(source)
        real(source, target)

    monkeypatch.setattr(os, "replace", cleared)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.put("key", b"code")
    assert store.get("key") is None


def test_an_unusable_folder_warns_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_warned", set())
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    store = ObjectCache(blocked / "objects")
    with pytest.warns(RuntimeWarning, match="not kept"):
        store.put("key", b"code")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.put("key", b"code")


def test_no_folder_no_cache() -> None:
    store = ObjectCache(None)
    store.put("key", b"code")
    assert store.get("key") is None


def test_compiled_code_comes_back_from_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphc_llvm import codegen, host

    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    module = codegen.Module("define i64 @answer() {\n  ret i64 42\n}\n")
    first = codegen.object_code(module, host.host())
    monkeypatch.setattr(codegen, "optimise", None)  # a second compilation would fail
    assert codegen.object_code(module, host.host()) == first


def test_many_at_once_see_whole_objects_within_the_bound(tmp_path: Path) -> None:
    bound = 64 * 1024

    def work(seed: int) -> int:
        chance, store, hits = random.Random(seed), ObjectCache(tmp_path, bound), 0
        for _ in range(120):
            key = f"k{chance.randrange(40)}"
            if chance.random() < 0.5:
                store.put(key, key.encode() * chance.randrange(1, 2000))
            elif (found := store.get(key)) is not None:
                assert found == key.encode() * (len(found) // len(key))
                hits += 1
        return hits

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with ThreadPoolExecutor(4) as pool:
            assert all(hits > 3 for hits in pool.map(work, range(4)))
    assert not [name for name in objects(tmp_path) if name.startswith(".new-")]
    assert sum((tmp_path / name).stat().st_size for name in objects(tmp_path)) <= bound * 1.5
