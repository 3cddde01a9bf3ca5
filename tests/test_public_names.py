"""Public names mean the same whatever was imported before them."""

from pathlib import Path

import graphc


def test_no_function_has_the_name_of_a_module() -> None:
    """Importing `graphc.x` binds the name x in the package to the module, even where it belongs to a function."""
    folder = Path(graphc.__file__).parent
    modules = {path.stem for path in folder.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert set(graphc.__all__) & modules == {"data", "nn", "numpy", "optim", "random", "train"}
