"""Graph to graph: what the compiler decides on its own. One file and one frozen dataclass per pass; `pipeline` has the
order. `run(graph)` returns the same object when nothing changed.
"""
