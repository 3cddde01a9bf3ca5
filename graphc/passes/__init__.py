"""Graph to graph, decided by the compiler: optimisations, and the partition into kernels."""
