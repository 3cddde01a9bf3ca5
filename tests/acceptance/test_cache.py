"""Programs from the cache are what was compiled: same bits, same reports, whatever happens to the files."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc import stored, train
from graphc.compilation import Compilation
from graphc.core.errors import BackendError, MemoryBudgetError, VerifyError
from tests.acceptance import jobs
from tests.random_graphs import random_graph, same_bits

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("trace", "grad", "optimized", "fused", "loop", "plan", "llvm", "asm")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of this test's own. Nothing is verified: a program whose passes are to be checked is compiled."""
    monkeypatch.delenv("GRAPHC_VERIFY")
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path / "first"))
    compiled()  # a process reads what its programs share once: no test is the first to need it
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    yield tmp_path / "objects"


def state(timings: tuple[object, ...]) -> str:
    """hit, miss, or off."""
    return next((t.stage.removeprefix("cache: ") for t in timings if t.stage.startswith("cache: ")), "off")  # type: ignore[attr-defined]


def compiled(scale: float = 2.0, shape: tuple[int, ...] = (4, 8), **options: object) -> gc.CompiledFunction:
    """A gradient with a constant that is large and one that is folded."""
    table = np.arange(200, dtype=np.float32)

    def loss(x):
        y = gnp.tanh(x * scale) @ gnp.ones((shape[-1], 3))
        return gnp.sum(y * y) + gnp.sum(gnp.exp(x[:1, :1] * table[None, :] / 1000))

    return gc.compile(gc.value_and_grad(loss), gc.spec(shape, "float32"), **options)


X = np.linspace(-1, 1, 32, dtype=np.float32).reshape(4, 8)


def run(exe: gc.CompiledFunction, x: np.ndarray = X) -> list[np.ndarray]:
    value, gradient = exe(x)
    return [np.asarray(value), gradient]


# ------------------------------------------------------------------------------------------------------- what a hit is


@pytest.mark.cpu
def test_a_job_from_the_cache_trains_to_the_same_bits() -> None:
    def fit() -> tuple[train.Job, str, np.ndarray]:
        job = jobs.job(jobs.network())
        history = job.fit(epochs=2, progress=False)
        return job, jobs.state_sha256(job), np.array(history["loss"])

    (first, state_1, loss_1), (second, state_2, loss_2) = fit(), fit()
    assert (state(first.program.timings), state(second.program.timings)) == ("miss", "hit")
    assert state_1 == state_2
    np.testing.assert_array_equal(loss_1, loss_2)
    for stage in STAGES:
        assert first.text(stage) == second.text(stage), stage
    assert str(first.memory) == str(second.memory)
    assert str(first.cost) == str(second.cost)
    assert jobs.arrays()[0].shape == (96, 20)
    np.testing.assert_array_equal(first.predict(jobs.arrays()[0]), second.predict(jobs.arrays()[0]))
    assert state(second.program.timings) == "hit"  # the entry for these inputs too


def test_the_cache_changes_no_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    miss, hit = compiled(), compiled()
    monkeypatch.setenv("GRAPHC_CACHE", "off")
    off = compiled()
    assert [state(exe.timings) for exe in (miss, hit, off)] == ["miss", "hit", "off"]
    assert same_bits(run(miss), run(off))
    assert same_bits(run(hit), run(off))


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_come_back(seed: int) -> None:
    case = random_graph(seed, size=20)
    found = []
    for expected in ("miss", "hit"):
        exe = gc.compile(case.graph)
        assert state(exe.timings) == expected
        result = exe(*case.inputs)
        found.append([np.asarray(leaf) for leaf in (result if isinstance(result, tuple) else (result,))])
    assert same_bits(*found)
    assert exe.text("plan") == gc.compile(case.graph).text("plan")


def test_a_process_with_a_hit_imports_no_compiler(folder: Path) -> None:
    program = (
        "import sys, numpy as np, graphc as gc, graphc.numpy as gnp\n"
        "exe = gc.compile(gc.grad(lambda x: gnp.sum(gnp.tanh(x) @ x)), gc.spec((8, 8), 'float32'))\n"
        "exe(np.ones((8, 8), 'float32'))\n"
        "print(*[t.stage for t in exe.timings if not t.stage.startswith(' ')], sep=', ')\n"
        "print(*sorted(sys.modules))\n"
        "print(len(exe.text('loop')))"
    )
    stages, modules, size = zip(*(python(program, PYTHONHASHSEED=seed).splitlines() for seed in "12"), strict=True)
    assert stages[0].startswith("trace, cache: miss, optimize, fuse, lower, schedule, plan, emit")
    assert stages[1] == "trace, cache: hit"
    needless = {"graphc.compiler", "graphc.passes", "graphc.kernel.lower", "graphc.kernel.ir", "graphc.plan.build"}
    needless |= {"graphc_llvm.recipes", "graphc_llvm.kernels", "graphc_llvm.program"}
    assert needless <= set(modules[0].split())
    assert not needless & set(modules[1].split())
    assert size[0] == size[1] != "0"


def python(program: str, **environment: str) -> str:
    path = os.pathsep.join([str(ROOT), str(ROOT / "backends")])
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.cpu
def test_what_a_hit_skipped_is_run_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    first = compiled()
    runs = []
    real = Compilation._run_stages
    monkeypatch.setattr(Compilation, "_run_stages", lambda self: (runs.append(1), real(self))[1])
    exe = compiled()
    run(exe)
    assert not runs
    assert exe.memory == first.memory
    assert exe.cost == first.cost
    assert [exe.text(stage) for stage in STAGES] == [first.text(stage) for stage in STAGES]
    kernels = [[(row.kernel, row.sources) for row in one.profile(X, repeats=1)] for one in (exe, first)]
    assert sorted(kernels[0]) == sorted(kernels[1])
    assert len(runs) == 1  # once for all
    assert exe.memory.arena_bytes == exe.compilation.plan.arena_bytes > 0


def test_stages_are_run_with_the_flags_of_the_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    def program() -> gc.CompiledFunction:
        return gc.compile(lambda x: gnp.log(gnp.exp(x) / gnp.sum(gnp.exp(x))), gc.spec((8,), "float32"))

    monkeypatch.setenv("GRAPHC_STABILISE", "0")
    fragile = program().text("optimized")
    exe = program()
    assert state(exe.timings) == "hit"
    monkeypatch.delenv("GRAPHC_STABILISE")
    assert exe.text("optimized") == fragile
    assert program().text("optimized") != fragile


def test_stages_that_make_another_plan_are_an_error() -> None:
    compiled()
    exe = compiled()
    assert exe.compilation.cached is not None
    exe.compilation.cached = {**exe.compilation.cached, "state_bytes": 1}
    with pytest.raises(VerifyError, match="another plan"):
        exe.text("optimized")


@pytest.mark.cpu
def test_a_text_that_is_not_what_the_code_was_made_from_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from graphc_llvm import executable

    compiled()
    exe = compiled()
    monkeypatch.setattr(executable, "text_digest", lambda text: text[:9])
    with pytest.raises(BackendError, match="GRAPHC_CACHE=off"):
        exe.text("llvm")


def test_errors_name_arguments_and_lines_after_a_hit() -> None:
    def messages() -> list[str]:
        exe = gc.compile(lambda weight: gnp.sum(weight * 2), gc.spec((3,), "float32"))
        found = [state(exe.timings), *map(str, exe.cost.by_line)]
        for wrong in (np.zeros(4, np.float32), np.zeros(3, np.float64)):
            with pytest.raises((gc.api.ShapeError, gc.api.DTypeError)) as error:
                exe(wrong)
            found.append(str(error.value))
        return found

    first, second = messages(), messages()
    assert (first[0], second[0]) == ("miss", "hit")
    assert first[1:] == second[1:]
    assert "weight" in second[-1]
    assert any("test_cache.py:" in line for line in second)


def test_memory_limits_hold_for_programs_from_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    from graphc_llvm import executable

    compiled(shape=(64, 64))
    needed = compiled(shape=(64, 64), memory="1GB")
    assert state(needed.timings) == "hit"
    monkeypatch.setattr(executable, "aligned", None)  # to allocate anything would fail
    with pytest.raises(MemoryBudgetError, match="memory=1,000 bytes"):
        compiled(shape=(64, 64), memory=1000)


def test_a_hit_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from graphc.inspect.cli import main

    file = tmp_path / "user.py"
    file.write_text("import graphc.numpy as gnp\ndef f(x):\n    return gnp.tanh(x)\n")
    for expected in ("cache: miss", "cache: hit"):
        assert main(["inspect", f"{file}:f", "--spec", "f32[4]", "--time"]) == 0
        assert expected in capsys.readouterr().out
    monkeypatch.setenv("GRAPHC_TIME", "1")
    compiled()
    assert "cache: miss" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------- the key


@pytest.mark.parametrize(
    ("environment", "options"),
    [
        ({}, {"scale": 2.5}),
        ({}, {"shape": (4, 9)}),
        ({}, {"threads": 1}),
        ({"GRAPHC_THREADS": "1"}, {}),
        ({"GRAPHC_STABILISE": "0"}, {}),
        ({"GRAPHC_CPU": "x86-64-v2"}, {}),
    ],
)
def test_what_matters_is_in_the_key(
    environment: dict[str, str], options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled()
    with monkeypatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            assert state(compiled(**options).timings) == "miss"  # type: ignore[arg-type]
        except BackendError:
            assert "GRAPHC_CPU" in environment  # this machine is another
    assert state(compiled().timings) == "hit"


@pytest.mark.cpu
def test_versions_and_sources_are_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    from graphc import stored
    from graphc_llvm import codegen

    backend = sys.modules["graphc_llvm.backend"]  # the package has an object of that name

    compiled()
    changes: list[tuple[object, str, object]] = [
        (codegen, "SETTINGS", "other"),
        (codegen.llvmlite, "__version__", "0.0"),
        (stored, "FORMAT", "0"),
        (stored, "source_digest", lambda *_: "other"),
        (backend, "source_digest", lambda *_: "other"),
    ]
    for module, name, value in changes:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            assert state(compiled().timings) == "miss", name
    assert state(compiled().timings) == "hit"


def test_sources_that_cannot_be_read_turn_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from graphc import stored

    monkeypatch.setattr(stored, "source_digest", lambda *_: None)
    assert state(compiled().timings) == "off"


def test_to_verify_is_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled()
    exe = compiled(verify="passes")
    assert state(exe.timings) == "off"
    assert any(timing.stage == "optimize" for timing in exe.timings)
    monkeypatch.setenv("GRAPHC_VERIFY", "passes")
    assert state(compiled().timings) == "off"


def test_off_means_off(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "off")
    run(compiled())
    assert not folder.exists()


def test_the_reference_backend_takes_no_part(folder: Path) -> None:
    assert state(compiled(backend="reference").timings) == "off"
    assert not folder.exists()


def test_constants_of_the_graph_are_not_written(folder: Path) -> None:
    large = np.random.default_rng(0).random((500, 500), np.float32)

    def value(x: np.ndarray) -> float:
        exe = gc.compile(lambda x: gnp.sum(x * large), gc.spec((500, 500), "float32"))
        return float(exe(x))

    ones = np.ones((500, 500), np.float32)
    expected = value(ones)
    assert sum(path.stat().st_size for path in folder.iterdir()) < large.nbytes / 4
    assert value(ones) == expected
    large[7, 7] += 1
    assert value(ones) != expected


# ---------------------------------------------------------------------------------------------------- what may go wrong


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".added"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data + b"x",
        lambda data: bytes(len(data)),
        *[lambda data, at=at: flipped(data, at) for at in (0, 20, 60, 100, -1)],
    ],
)
def test_damaged_files_are_compiled_again(damage: Callable[[bytes], bytes], folder: Path) -> None:
    expected = run(compiled())
    before = files(folder)
    for name, data in before.items():
        (folder / name).write_bytes(damage(data))
    with pytest.warns(RuntimeWarning, match="damaged"):
        exe = compiled()
    assert state(exe.timings) == "miss"
    assert same_bits(run(exe), expected)
    assert files(folder) == before
    assert state(compiled().timings) == "hit"


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 4
    return bytes(changed)


@pytest.mark.cpu
def test_code_that_does_not_load_is_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from graphc_llvm import code

    expected = run(compiled())
    real = code.Code.from_bytes
    with monkeypatch.context() as patch:
        missing = staticmethod(lambda block: replace(real(block), calls={"f": "no_such_function"}))
        patch.setattr(code.Code, "from_bytes", missing)
        with pytest.warns(RuntimeWarning, match="does not load"):
            assert same_bits(run(compiled()), expected)
    assert state(compiled().timings) == "hit"


def test_processes_that_start_at_once(folder: Path) -> None:
    program = (
        "import numpy as np, graphc as gc, graphc.numpy as gnp\n"
        "f = gc.value_and_grad(lambda x, w: gnp.sum(gnp.tanh(x @ w)))\n"
        "exe = gc.compile(f, *[gc.spec((16, 16), 'float32')] * 2)\n"
        "value, grad = exe(*[np.linspace(-1, 1, 256, dtype='f').reshape(16, 16)] * 2)\n"
        "print(float(value).hex(), grad.tobytes().hex())"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "backends")])
    command = [sys.executable, "-W", "error", "-c", program]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})
        for _ in range(6)
    ]
    printed = {process.communicate()[0] for process in running}
    assert [process.returncode for process in running] == [0] * 6
    assert len(printed) == 1
    assert not [name for name in files(folder) if name.startswith(".new-")]
    assert python(program) in printed


def test_a_full_disk_is_a_warning(folder: Path) -> None:
    program = (
        "import resource, sys, warnings, numpy as np, graphc as gc, graphc.numpy as gnp\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "with warnings.catch_warnings(record=True) as seen:\n"
        "    warnings.simplefilter('always')\n"
        "    exe = gc.compile(lambda x: gnp.tanh(x), gc.spec((4,), 'float32'))\n"
        "print(exe(np.zeros(4, 'f'))[0], len(seen), 'compiled code is not kept' in str(seen[0].message))"
    )
    value, count, named = python(program).split()
    assert (value, count, named) == ("0.0", "1", "True")
    assert not [name for name in files(folder) if name != ".added"]


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("GRAPHC_CACHE", str(blocked))
    with pytest.warns(RuntimeWarning, match="not kept"):
        first = run(compiled())
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        assert same_bits(run(compiled()), first)


def test_a_read_only_cache_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when somebody else filled it. Permissions do not stop tests that run as root: the calls fail instead."""
    expected = run(compiled())

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only")

    for name in ("utime", "replace", "unlink"):
        monkeypatch.setattr(os, name, refuse)
    exe = compiled()
    assert state(exe.timings) == "hit"
    assert same_bits(run(exe), expected)


def test_everything_that_compiles_is_part_of_the_key() -> None:
    """Editing any of it must not leave stale programs behind."""
    wanted, seen = ["compiler"], set[str]()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        path = ROOT / "graphc" / f"{name}.py"
        tree = ast.parse(path.read_text()) if path.exists() else ast.Module([], [])
        modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        wanted += [module.split(".")[1] for module in modules if module.startswith("graphc.")]
    assert seen <= {name.removesuffix(".py") for name in stored._SOURCES}
