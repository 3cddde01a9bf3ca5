"""The object cache survives damage, unwritable folders and its own size bound."""

import os
import warnings
from pathlib import Path

import pytest

from graphc.runtime import cache
from graphc.runtime.cache import ObjectCache


def test_what_is_put_is_found(tmp_path: Path) -> None:
    store = ObjectCache(tmp_path / "objects")
    key = store.key("llvm", "text")
    assert store.get(key) is None
    store.put(key, b"code")
    assert store.get(key) == b"code"
    assert [entry.name for entry in (tmp_path / "objects").iterdir()] == [key]


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
    store = ObjectCache(tmp_path, bound=3500)
    for number in range(3):
        store.put(f"k{number}", bytes(1000))
        os.utime(tmp_path / f"k{number}", (number, number))
    assert store.get("k0") is not None  # now the newest
    store.put("k3", bytes(1000))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["k0", "k2", "k3"]


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
    text = "define i64 @answer() {\n  ret i64 42\n}\n"
    first = codegen.object_code(text, host.host())
    monkeypatch.setattr(codegen, "optimise", None)  # a second compilation would fail
    assert codegen.object_code(text, host.host()) == first
