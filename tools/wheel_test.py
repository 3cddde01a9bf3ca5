"""Builds the wheel, installs it in a clean environment away from the checkout, and runs `tests/wheel_smoke.py` there.

The checkout on the path hides what a wheel lacks; this is the test that sees it. Python runs isolated (`-I`) there, so
that PYTHONPATH does not bring the checkout back.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Raises CalledProcessError when a step fails; leaves nothing behind."""
    with tempfile.TemporaryDirectory(prefix="graphc-wheel-") as name:
        folder = Path(name)
        build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
        subprocess.run([sys.executable, *build], check=True, stdout=subprocess.DEVNULL)
        (wheel,) = folder.glob("*.whl")
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        subprocess.run([python, "-I", "-m", "pip", "install", "--quiet", f"{wheel}[onnx]"], check=True, cwd=folder)
        smoke = Path(shutil.copy(ROOT / "tests" / "wheel_smoke.py", folder))
        subprocess.run([python, "-I", str(smoke)], check=True, cwd=folder)
    print(f"{wheel.name}: installs, imports and trains")


if __name__ == "__main__":
    main()
