"""The command line as a user meets it: what it prints, its exit status, its one-line errors."""

import json
import os
import subprocess
import sys

import pytest

import graphc
from graphc.execution.stages import STAGES
from graphc.graph.parser import parse
from graphc.inspect.cli import main

PROGRAM = """
import graphc as gc
import graphc.numpy as gnp

def f(x, w):
    return gnp.tanh(x @ w).sum()

exe = gc.compile(gc.value_and_grad(f), gc.spec((3, 4)), gc.spec((4, 5)))
graph = gc.trace(f, gc.spec((3, 4)), gc.spec((4, 5)))
counter = gc.program({"n": 0.0}, {"add": lambda s, x, step: ({"n": s["n"] + x}, s["n"])}, {"add": gc.spec(())})
number = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(PROGRAM)
    return path


def test_trace_shows_what_was_differentiated_and_grad_the_whole(file, capsys):
    assert main(["inspect", f"{file}:exe", "--stage", "trace"]) == 0
    forward = parse(capsys.readouterr().out)
    assert [node.op.name for node in forward.nodes] == ["dot_general", "tanh", "reduce_sum"]
    assert main(["inspect", f"{file}:exe", "--stage", "grad"]) == 0
    assert len(parse(capsys.readouterr().out).outputs) == 2


@pytest.mark.parametrize("stage", [s for s in STAGES if s not in ("cuda", "ptx", "sass")])
def test_every_stage_of_the_cpu_backend_prints(file, capsys, stage):
    assert main(["inspect", f"{file}:exe", "--stage", stage]) == 0
    assert len(capsys.readouterr().out) > 50


def test_what_a_file_prints_is_kept_apart(file, capsys):
    file.write_text(PROGRAM + "print('begun')\n")
    assert main(["inspect", f"{file}:graph"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "begun\n" and len(parse(printed.out).nodes) == 3


def test_explain_says_what_was_decided_and_where(tmp_path, capsys):
    path = tmp_path / "twice.py"
    path.write_text("def f(x, w):\n    y = x + 1\n    z = y @ w\n    return z, z.sum(), y @ w.T\n")
    arguments = [f"{path}:f", "--spec", "f32[300,400]", "--spec", "f32[400,400]"]
    assert main(["inspect", *arguments, "--stage", "fused"]) == 0
    fused = parse(capsys.readouterr().out)
    assert main(["explain", *arguments]) == 0
    first, *decisions = capsys.readouterr().out.splitlines()
    assert first == f"f: 6 nodes become {len(fused.nodes)}"
    assert any("add f32[300,400]: gains" in line and "twice.py:2" in line for line in decisions)


def test_explain_knows_programs_and_says_what_it_cannot(file, capsys):
    assert main(["explain", f"{file}:counter"]) == 0
    assert capsys.readouterr().out.startswith("add: 1 nodes become 1")
    assert main(["explain", f"{file}:graph", "--backend", "reference"]) == 1
    assert "the reference backend fuses nothing" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["graph", "counter", "exe"])
@pytest.mark.parametrize("what", ["--memory", "--cost", "--time"])
def test_reports(file, capsys, name, what):
    assert main(["inspect", f"{file}:{name}", what]) == 0
    assert capsys.readouterr().out.strip()


def test_a_function_needs_specs(file, capsys):
    assert main(["inspect", f"{file}:f"]) == 1
    assert "--spec f32[64,784]" in capsys.readouterr().err
    assert main(["inspect", f"{file}:f", "--spec", "f32[3,4]", "--spec", "f32[4,5]"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{file}:nope"], "it has: gc, gnp, f, exe"),
        (["{file}:number"], "is a int"),
        (["{file}"], "write FILE.py:NAME"),
        (["missing.py:x"], "no such file"),
        (["{file}:f", "--spec", "f32(3)"], "write dtype[shape]"),
        (["{file}:f", "--spec", "f99[3]"], "not a dtype"),
        (["{file}:f", "--spec", "f32[3,4]", "--spec", "f32[5,5]"], "model.py:6"),
        (
            ["{file}:exe", "--stage", "ptx"],
            "has no stage 'ptx' for this program; it has trace, grad, optimized, fused, ",
        ),
        (["{file}:f", "--spec", "f32[3,4]"], "missing a required argument: 'w'; give one --spec for each argument of"),
        (["{file}:f", *["--spec", "f32[3,4]"] * 3], "too many positional arguments; give one --spec for each"),
    ],
)
def test_mistakes_give_one_line_and_status_1(file, capsys, arguments, message):
    assert main(["inspect", *(a.format(file=file) for a in arguments)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "raised"),
    [
        ("import missing_module\n", "ModuleNotFoundError: No module named 'missing_module'"),
        ("def f(x):\n    return helper(x)\ndef helper(x):\n    return x.nothing\n", "AttributeError: a traced value"),
        ("def f(:\n", "SyntaxError"),
    ],
)
@pytest.mark.parametrize("arguments", [["inspect", "{}:f", "--spec", "f32[2]"], ["profile", "{}"]])
def test_what_a_file_raises_is_shown_from_the_file_on(tmp_path, capsys, text, raised, arguments):
    path = tmp_path / "wrong.py"
    path.write_text(text + "if __name__ == '__main__':\n    import graphc\n    graphc.trace(f, graphc.spec(2))\n")
    assert main([argument.format(path) for argument in arguments]) == 1
    error = capsys.readouterr().err
    assert raised in error
    assert error.count(str(path)) >= 1 and "cli.py" not in error and "load.py" not in error


def test_an_error_that_is_not_the_files_is_not_hidden(file, monkeypatch):
    def broken(*given):
        raise RuntimeError("a defect")

    monkeypatch.setattr("graphc.inspect.cli.explanation", broken)
    with pytest.raises(RuntimeError, match="a defect"):
        main(["explain", f"{file}:exe"])


SCRIPT = """
import sys
import numpy as np
import graphc as gc

def double(s, x, step):
    return {"n": s["n"] * 2}, x + s["n"]

if __name__ == "__main__":
    print("said by the script", sys.argv[1:])
    p = gc.program({"n": np.ones(3, np.float32)}, {"train": double, "other": double}, {"train": gc.spec(3)})
    p.run("train", np.ones(3, np.float32), first=7, n=4)
    gc.compile(lambda x: x + 1, np.ones(3, np.float32))
    sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def quick_peaks(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("graphc.runtime.peaks.MOST_ROUNDS", 1)


def test_profile_of_something_in_a_file(file, capsys, quick_peaks):
    assert main(["profile", f"{file}:exe", "--repeats", "2", "--top", "1", "--sort", "flops"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("f: ") and "model.py:" in lines[3]
    assert main(["profile", f"{file}:counter", "--repeats", "2", "--json", "--remeasure"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["entry"] == "add" and found["steps"] == 2 and found["kernels"]
    assert main(["profile", f"{file}:f", "--spec", "f32[3,4]", "--spec", "f32[4,5]", "--repeats", "1"]) == 0
    assert main(["profile", f"{file}:graph", "--repeats", "1"]) == 0


def test_profile_of_a_script_is_of_the_programs_it_runs(tmp_path, capsys, quick_peaks):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    assert main(["profile", str(script), "--repeats", "3", "--json", "--", "0", "--steps"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["entry"] == "train"
    assert "said by the script ['0', '--steps']" in err
    assert main(["profile", str(script), "--", "3"]) == 1
    assert "ended with status 3" in capsys.readouterr().err


def test_what_a_script_compiled_is_its_functions_where_it_has_no_programs(tmp_path, capsys, quick_peaks):
    script = tmp_path / "script.py"
    script.write_text("import graphc as gc\nfor n in (3, 4): gc.compile(lambda x: x + 1, gc.spec(n))\n")
    assert main(["profile", str(script), "--repeats", "1", "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    script.write_text("import graphc\n")
    assert main(["profile", str(script)]) == 1
    assert "compiled nothing that has a profile" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{file}:exe", "--entry", "train"], "is a function, not a program"),
        (["{file}:counter", "--entry", "train"], "no entry 'train'; entries: add"),
        (["{file}:exe", "--top", "0"], "must be at least 1"),
        (["{file}:exe", "--", "3"], "are for scripts"),
        (["{file}", "--backend", "cpu"], "a script chooses for itself"),
        (["missing.py"], "no such file"),
        (["{file}:f"], "--spec f32[64,784]"),
    ],
)
def test_mistakes_of_profile_give_one_line(file, capsys, arguments, message):
    assert main(["profile", *(a.format(file=file) for a in arguments)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_doctor_checks_every_backend(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "cpu: gradient" in out
    assert "reference: gradient" in out
    assert "GRAPHC_VERIFY" in out


def test_doctor_prints_what_is_said_in_brackets(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("graphc.inspect.doctor._checks", lambda: [("a [gpu]", None, 'pip install "graphc[gpu]"')])
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "a [gpu]" in out and '"graphc[gpu]"' in out


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"graphc {graphc.__version__}\n"


def test_ops_lists_the_primitives(capsys):
    assert main(["ops"]) == 0
    assert "dot_general" in capsys.readouterr().out


def test_dump_and_time(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GRAPHC_DUMP", str(tmp_path / "dump"))
    monkeypatch.setenv("GRAPHC_TIME", "1")
    assert main(["inspect", f"{file}:graph", "--stage", "trace"]) == 0
    assert "optimize" in capsys.readouterr().err
    folders = sorted((tmp_path / "dump").iterdir())
    assert {"trace.txt", "fused.txt", "plan.txt", "llvm.txt", "time.txt"} <= {p.name for p in folders[-1].iterdir()}


def test_an_unwritable_dump_folder_is_a_warning(file, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file, not a folder")
    monkeypatch.setenv("GRAPHC_DUMP", str(tmp_path / "taken"))
    with pytest.warns(UserWarning, match="GRAPHC_DUMP"):
        assert main(["inspect", f"{file}:graph"]) == 0


def test_the_package_runs_as_the_command():
    command = [sys.executable, "-m", "graphc", "ops"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0
    assert "dot_general" in done.stdout
