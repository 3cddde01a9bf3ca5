"""graphc: a graph-based autodiff compiler for training."""
