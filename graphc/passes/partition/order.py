"""In which order kernels run: the one that needs less memory at its worst moment.

Two orders are compared: the program's, and a greedy one that always takes the kernel that frees most beyond what it
allocates (ties: program order). A value lives from its kernel to its last reader, views and concatenates counting as
the memory behind them. The new value of a state (output i beside input i of the same type) costs memory of its own
only while the old one still has readers, so readers of the old value come first where they can.
"""

from collections.abc import Sequence

from graphc.graph.ir import Graph, Node, Value


def order(graph: Graph) -> Graph:
    """The same graph with its nodes in the better order; the same object when that is the order it has."""
    costs = _Costs(graph)
    greedy = costs.greedy()
    if costs.peak(greedy) >= costs.peak(graph.nodes):
        return graph
    return Graph(graph.name, graph.inputs, tuple(greedy), graph.outputs, graph.aliases)


def peak_bytes(graph: Graph) -> int:
    """The largest sum of live bytes over the order of a fused graph: temporaries and new values, not inputs."""
    return _Costs(graph).peak(graph.nodes)


class _Costs:
    """Which memory each node reads and makes."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.owner: dict[Value, Value] = {value: value for value in graph.inputs}
        for node in graph.nodes:
            shared = node.op.name in ("reshape", "slice")
            for value in node.results:
                self.owner[value] = self.owner[node.operands[0]] if shared else value
        self.free = set(graph.inputs) | {n.result for n in graph.nodes if n.op.name == "constant"}
        self.parts = self._parts()
        self.kept = {self._memory(value) for value in graph.outputs}
        self.renews = {
            self._memory(new): old
            for new, old in zip(graph.outputs, graph.inputs, strict=False)
            if new is not old and new.type == old.type
        }
        self.reads = {node: {self._memory(v) for v in node.operands} for node in graph.nodes}
        self.makes = {node: {self._memory(v) for v in node.results} - self.reads[node] for node in graph.nodes}

    def _parts(self) -> dict[Value, Value]:
        """The concatenate each part is written into."""
        found: dict[Value, Value] = {}
        for node in self.graph.nodes:
            if node.op.name == "concatenate":
                found.update((self.owner[v], node.result) for v in node.operands if self.owner[v] not in self.free)
        return found

    def _memory(self, value: Value) -> Value:
        value = self.owner[value]
        while value in self.parts:
            value = self.parts[value]
        return value

    def _cost(self, made: Value, readers: dict[Value, int], node: Node) -> int:
        """Bytes a new value needs: none where the old state it replaces is not read any more."""
        old = self.renews.get(made)
        if old is None:
            return made.type.nbytes
        left = readers.get(old, 0) - (old in self.reads[node])
        return made.type.nbytes if left > 0 else 0

    def _reader_counts(self) -> dict[Value, int]:
        readers: dict[Value, int] = {}
        for values in self.reads.values():
            for value in values:
                readers[value] = readers.get(value, 0) + 1
        return readers

    def _step(self, node: Node, readers: dict[Value, int], live: set[Value]) -> tuple[int, int]:
        """Bytes a node allocates, and bytes that die with it."""
        allocated = sum(self._cost(v, readers, node) for v in self.makes[node] if v not in live and v not in self.free)
        freed = sum(
            value.type.nbytes
            for value in self.reads[node]
            if readers[value] == 1 and value not in self.kept and value not in self.free
        )
        return allocated, freed

    def _run(self, node: Node, readers: dict[Value, int], live: set[Value]) -> None:
        live |= self.makes[node]
        for value in self.reads[node]:
            readers[value] -= 1

    def peak(self, nodes: Sequence[Node]) -> int:
        """The largest sum of live bytes in this order."""
        readers, live = self._reader_counts(), set[Value]()
        now = peak = 0
        for node in nodes:
            allocated, freed = self._step(node, readers, live)
            peak = max(peak, now + allocated)
            now += allocated - freed
            self._run(node, readers, live)
        return peak

    def greedy(self) -> list[Node]:
        """Always the ready node with the best balance."""
        position = {node: i for i, node in enumerate(self.graph.nodes)}
        waiting = {
            node: len({self.graph.producers[v] for v in node.operands if v in self.graph.producers})
            for node in self.graph.nodes
        }
        readers, live = self._reader_counts(), set[Value]()
        ready = [node for node in self.graph.nodes if not waiting[node]]
        done: list[Node] = []
        while ready:
            balance = {node: self._step(node, readers, live) for node in ready}
            best = min(ready, key=lambda n: (balance[n][0] - balance[n][1], position[n]))
            ready.remove(best)
            done.append(best)
            self._run(best, readers, live)
            for user in dict.fromkeys(u for v in best.results for u in self.graph.users.get(v, ())):
                waiting[user] -= 1
                if not waiting[user]:
                    ready.append(user)
        return done
