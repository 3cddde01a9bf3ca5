"""What every test shares: golden texts, the `--bless` flag that rewrites them, and the environment of the compiler."""

from __future__ import annotations

import difflib
import re
import signal
import sys
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from graphc.core.errors import UnsupportedError
from graphc.runtime import discovery

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="write the golden files from what the compiler prints now")
    parser.addoption(
        "--fuzz-seed", type=int, default=0, help="first seed of the random graphs (printed with each test)"
    )
    parser.addoption("--in-place-of-cpu", default="", help="MODULE:BACKEND that every test gets that asks for cpu")
    parser.addoption("--gpu-result", default="build/gpu.json", help="where tests/gpu writes what ran on which card")
    parser.addoption("--fuzz-count", type=int, default=30, help="random graphs per check")


def pytest_configure() -> None:
    """Ctrl-C works in tests, also when a shell began them in the background with it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where another backend is in the place of cpu, what is about that one is left out."""
    if config.getoption("--in-place-of-cpu"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("cpu")])
        items[:] = [item for item in items if not item.get_closest_marker("cpu")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Where another backend is in the place of cpu, a test ends where it needs what docs/gpu.md says is the host's."""
    try:
        return (yield)
    except UnsupportedError as error:
        if item.config.getoption("--in-place-of-cpu") and "runs on the cpu backend only" in str(error):
            pytest.skip(str(error))
        raise


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seconds_per_part(terminalreporter)
    fuzz_coverage(terminalreporter)


def seconds_per_part(terminalreporter: pytest.TerminalReporter) -> None:
    """Where the time of a long run went: seconds of tests (of all processes together) per folder or file below it."""
    seconds: Counter[str] = Counter()
    tests: Counter[str] = Counter()
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        part = "/".join(report.nodeid.split("::")[0].split("/")[:2])
        seconds[part] += report.duration
        tests[part] += report.when == "call"
    if sum(seconds.values()) < 30:
        return
    terminalreporter.section("seconds per part")
    for part, spent in seconds.most_common():
        terminalreporter.write_line(f"{spent:8.1f} s {tests[part]:6} tests  {part}")


def fuzz_coverage(terminalreporter: pytest.TerminalReporter) -> None:
    """Which primitives the fuzzer met: tests record them as the property `coverage`, which crosses processes."""
    cells = Counter(
        tuple(cell)
        for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed"))
        for name, found in report.user_properties
        if name == "coverage"
        for cell in found
    )
    if not cells:
        return
    from tests.fuzz.coverage import WAYS, table  # few runs need it

    terminalreporter.section(f"fuzzed nodes per primitive and dtype: {'/'.join(WAYS)}")
    for line in table(cells):
        terminalreporter.write_line(line)


def without_machine_paths(text: str) -> str:
    """The text with the folders of this machine replaced by names, so that it is the same everywhere."""
    for folder, name in (
        (str(ROOT), "<repo>"),
        (sysconfig.get_path("purelib"), "<site>"),
        (sysconfig.get_path("stdlib"), "<python>"),
        (sys.prefix, "<python>"),
    ):
        text = text.replace(folder, name)
    text = re.sub(r"/\S*/pytest-\d+/(?:popen-\w+/)?[\w.-]+", "<tmp>", text)
    return "\n".join(line.rstrip() for line in text.splitlines()).rstrip("\n") + "\n"


@pytest.fixture(scope="session", autouse=True)
def compiler_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Verifies the IR after every pass, and keeps compiled objects out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHC_VERIFY", "passes")
        patch.setenv("GRAPHC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def in_place_of_cpu(request: pytest.FixtureRequest) -> Iterator[None]:
    """With the option of that name: another backend is found where the cpu backend is asked for."""
    place = request.config.getoption("--in-place-of-cpu")
    if not place:
        yield
        return
    known = {**discovery._found("graphc.backends"), "cpu": place}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discovery, "_found", lambda group: known)
        discovery.find_backend.cache_clear()
        yield
    discovery.find_backend.cache_clear()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)` compares text with `tests/golden/<name>.txt`; with `--bless` it writes that file instead."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / f"{name}.txt"
        text = without_machine_paths(text)
        if request.config.getoption("--bless"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        if not path.exists():
            pytest.fail(f"{path.relative_to(ROOT)} is missing; look at the text, then run `make bless`:\n{text}")
        expected = path.read_text(encoding="utf-8")
        if text != expected:
            diff = "\n".join(
                difflib.unified_diff(expected.splitlines(), text.splitlines(), "golden", "now", lineterm="")
            )
            pytest.fail(f"{path.relative_to(ROOT)} differs; if the change is meant, run `make bless`:\n{diff}")

    return compare
