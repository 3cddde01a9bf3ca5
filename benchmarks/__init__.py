"""Measurements of graphc beside its peers, run as modules: `python -m benchmarks.train_step --json`. See README.md."""
