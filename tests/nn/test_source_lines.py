"""Every value of a model leads to the user's line that made its layer, or that called it."""

import numpy as np

import graphc as gc
from graphc import nn


class Double(nn.Module):
    def __init__(self):
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        return self.fc(x) * 2.0  # CALL


MODEL = nn.Sequential(
    nn.Linear(4, 3),  # LINEAR
    nn.Tanh(),  # TANH
    Double(),
)


def _line(mark):
    with open(__file__) as lines:
        return next(number for number, line in enumerate(lines, 1) if line.rstrip().endswith(f"# {mark}"))


def test_layers_of_a_sequential_count_as_made_where_they_were_built():
    graph = gc.trace(lambda x: MODEL(x), np.zeros((2, 4), np.float32))
    lines = {(node.op.name, node.loc.line) for node in graph.nodes if node.loc.file == __file__}
    assert ("tanh", _line("TANH")) in lines
    assert ("mul", _line("CALL")) in lines
    assert {line for op, line in lines if op == "dot_general"} == {_line("LINEAR"), _line("CALL")}
