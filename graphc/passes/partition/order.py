"""In which order kernels run: the one that needs less memory at its worst moment.

Two orders are compared: the program's, and a greedy one that always takes the kernel that frees most beyond what it
allocates (ties: program order). A value lives from its kernel to its last reader, views and concatenates counting as
the memory behind them. In both, kernels that read old state come before the one that overwrites it (output i beside
input i of the same type), where they do not need its result: then the new value needs no memory of its own.
"""

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush

from graphc.graph.ir import Graph, Node, Value
from graphc.passes.partition.places import Places


def order(graph: Graph) -> Graph:
    """The same graph with its nodes in the better order; the same object when that is the order it has."""
    costs = _Costs(graph)
    plain = in_order(graph.nodes, costs.before)
    greedy = costs.greedy()
    best = plain if costs.peak(greedy) >= costs.peak(plain) else greedy
    if best == list(graph.nodes):
        return graph
    return Graph(graph.name, graph.inputs, tuple(best), graph.outputs, graph.aliases)


def peak_bytes(graph: Graph) -> int:
    """The largest sum of live bytes over the order of a fused graph: temporaries and new values, not inputs."""
    return _Costs(graph).peak(graph.nodes)


def in_order(nodes: Sequence[Node], before: Mapping[Node, set[Node]]) -> list[Node]:
    """Operands first, and what should run before a node where that is possible; otherwise the order given."""
    todo = Todo(nodes, before)
    done: list[Node] = []
    while todo.ready or todo.release():
        node = nodes[heappop(todo.ready)]
        done.append(node)
        for user in todo.finish(node):
            heappush(todo.ready, todo.position[user])
    return done


class Todo:
    """Nodes waiting for their operands, and for those that should run before them."""

    def __init__(self, nodes: Sequence[Node], before: Mapping[Node, set[Node]]) -> None:
        self.position = {node: i for i, node in enumerate(nodes)}
        self.waiting: dict[Node, int] = {}
        self.held: dict[Node, set[Node]] = {}  # by node whose operands are there: what else it waits for
        self.users: dict[Node, list[Node]] = {node: [] for node in nodes}
        self.later: dict[Node, list[Node]] = {}
        self.early = {node: set(before.get(node, ())) for node in nodes}
        producers = {value: node for node in nodes for value in node.results}
        for node in nodes:
            needed = {producers[v] for v in node.operands if v in producers}
            self.waiting[node] = len(needed)
            for each in needed:
                self.users[each].append(node)
            for each in self.early[node]:
                self.later.setdefault(each, []).append(node)
        self.ready = [self.position[node] for node in nodes if not self.waiting[node] and not self.early[node]]
        self.held = {node: self.early[node] for node in nodes if not self.waiting[node] and self.early[node]}

    def finish(self, node: Node) -> list[Node]:
        """A node has run; the nodes that are ready now."""
        found: list[Node] = []
        for user in self.users[node]:
            self.waiting[user] -= 1
            if not self.waiting[user]:
                if self.early[user]:
                    self.held[user] = self.early[user]
                else:
                    found.append(user)
        for user in self.later.get(node, ()):
            self.early[user].discard(node)
            if user in self.held and not self.early[user]:
                del self.held[user]
                found.append(user)
        return found

    def release(self) -> bool:
        """Nothing is ready: let the first node go that waits for others than its operands only."""
        if not self.held:
            return False
        node = min(self.held, key=self.position.__getitem__)
        del self.held[node]
        self.early[node] = set()
        heappush(self.ready, self.position[node])
        return True


class _Costs:
    """Which memory each node reads and makes."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.places = Places(graph)
        self.before = self.places.readers_before()
        self.free = set(graph.inputs) | {n.result for n in graph.nodes if n.op.name == "constant"}
        memory = self.places.memory
        self.kept = {memory(value).owner for value in graph.outputs}
        self.reads = {node: {memory(v).owner for v in node.operands} for node in graph.nodes}
        self.makes = {node: {memory(v).owner for v in node.results} - self.reads[node] for node in graph.nodes}
        self.makers: dict[Value, list[Node]] = {}
        self.readers: dict[Value, list[Node]] = {}
        for node in graph.nodes:
            for value in self.makes[node]:
                self.makers.setdefault(value, []).append(node)
            for value in self.reads[node]:
                self.readers.setdefault(value, []).append(node)

    def peak(self, nodes: Sequence[Node]) -> int:
        """The largest sum of live bytes in this order."""
        run = _Run(self)
        now = peak = 0
        for node in nodes:
            allocated, freed = run.step(node)
            peak = max(peak, now + allocated)
            now += allocated - freed
            run.do(node)
        return peak

    def greedy(self) -> list[Node]:
        """Always the ready node with the best balance."""
        nodes = self.graph.nodes
        todo = Todo(nodes, self.before)
        run = _Run(self)

        def entry(node: Node) -> tuple[int, int]:
            allocated, freed = run.step(node)
            return allocated - freed, todo.position[node]

        open_nodes = {nodes[i] for i in todo.ready}
        ready = [entry(node) for node in open_nodes]
        heapify(ready)
        done: list[Node] = []
        while len(done) < len(nodes):
            if not ready:
                todo.ready.clear()
                todo.release()
                open_nodes.add(nodes[todo.ready[0]])
                heappush(ready, entry(nodes[todo.ready[0]]))
            node = nodes[heappop(ready)[1]]
            if node in run.done:
                continue
            done.append(node)
            changed = [each for each in run.do(node) if each in open_nodes]
            found = todo.finish(node)
            open_nodes.update(found)
            for each in (*changed, *found):  # a balance only gets better: an entry that is too old is behind the new
                if each not in run.done:
                    heappush(ready, entry(each))
        return done


class _Run:
    """The state of memory while nodes run in some order."""

    def __init__(self, costs: _Costs) -> None:
        self.costs = costs
        self.left = {value: len(nodes) for value, nodes in costs.readers.items()}
        self.live: set[Value] = set()
        self.done: set[Node] = set()

    def step(self, node: Node) -> tuple[int, int]:
        """Bytes a node allocates, and bytes that die with it."""
        costs = self.costs
        allocated = sum(
            value.type.nbytes
            for value in costs.makes[node]
            if value not in self.live and value not in costs.free and not self._is_in_place(value, node)
        )
        freed = sum(
            value.type.nbytes
            for value in costs.reads[node]
            if self.left[value] == 1 and value not in costs.kept and value not in costs.free
        )
        return allocated, freed

    def _is_in_place(self, value: Value, node: Node) -> bool:
        """Whether new state is written over the old: nobody reads any more what this node overwrites."""
        if value not in self.costs.places.renews:
            return False
        return all(reader in self.done for reader in self.costs.before.get(node, ()))

    def do(self, node: Node) -> list[Node]:
        """Run a node; the nodes whose balance may be better now."""
        self.done.add(node)
        changed: list[Node] = []
        for value in self.costs.makes[node]:
            if value not in self.live:
                self.live.add(value)
                changed += self.costs.makers[value] if len(self.costs.makers[value]) > 1 else ()
        for value in self.costs.reads[node]:
            self.left[value] -= 1
            if self.left[value] == 1:
                changed += [reader for reader in self.costs.readers[value] if reader not in self.done]
        return changed
