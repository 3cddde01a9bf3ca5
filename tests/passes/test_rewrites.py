"""Each rewriting pass on small texts: what it makes of them, and what it must leave alone."""

import pytest

from graphc.graph.ir import Graph
from graphc.graph.ops import elementwise
from graphc.graph.parser import parse
from graphc.passes.canonicalise import Canonicalise
from graphc.passes.cse import Cse
from graphc.passes.dce import Dce
from graphc.passes.fold import Fold
from graphc.passes.inline import Inline
from graphc.passes.pipeline import PIPELINE, pipeline, run_passes
from graphc.passes.rewrite import Lit, NodeRule, Rule, Var, op, rewrite


def body(text: str) -> Graph:
    """A graph from its nodes; `%0`, `%1`, ... up to the first node are inputs written as `in %0: type`."""
    lines = [line.strip() for line in text.strip().splitlines()]
    inputs = [line[3:] for line in lines if line.startswith("in ")]
    rest = [line for line in lines if not line.startswith("in ")]
    return parse(f"graph f({', '.join(inputs)}) {{\n" + "\n".join(rest) + "\n}")


CANONICAL = {
    "constants go right": (
        """in %0: f32[]
        %1: f32[] = constant() {value=f32[]{3.0}}
        %2: bool[] = lt(%1, %0)
        return %2""",
        """in %0: f32[]
        %1: f32[] = constant() {value=f32[]{3.0}}
        %2: bool[] = gt(%0, %1)
        return %2""",
    ),
    "a constant of one number": (
        """%0: f32[2,2] = constant() {value=f32[2,2]{3.0, 3.0, 3.0, 3.0}}
        return %0""",
        """%0: f32[] = constant() {value=f32[]{3.0}}
        %1: f32[2,2] = broadcast(%0) {shape=(2, 2), dims=()}
        return %1""",
    ),
    "stop_gradient": ("in %0: f32[]\n%1: f32[] = stop_gradient(%0)\nreturn %1", "in %0: f32[]\nreturn %0"),
    "reshapes": (
        """in %0: f32[6]
        %1: f32[2,3] = reshape(%0) {shape=(2, 3)}
        %2: f32[3,2] = reshape(%1) {shape=(3, 2)}
        %3: f32[6] = reshape(%2) {shape=(6,)}
        return %2, %3""",
        """in %0: f32[6]
        %1: f32[3,2] = reshape(%0) {shape=(3, 2)}
        return %1, %0""",
    ),
    "keepdims broadcast": (
        """in %0: f32[4]
        %1: f32[4,1] = reshape(%0) {shape=(4, 1)}
        %2: f32[4,3] = broadcast(%1) {shape=(4, 3), dims=(0, 1)}
        return %2""",
        """in %0: f32[4]
        %1: f32[4,3] = broadcast(%0) {shape=(4, 3), dims=(0,)}
        return %1""",
    ),
    "broadcasts": (
        """in %0: f32[3]
        %1: f32[2,3] = broadcast(%0) {shape=(2, 3), dims=(1,)}
        %2: f32[2,4,3] = broadcast(%1) {shape=(2, 4, 3), dims=(0, 2)}
        %3: f32[3,2] = transpose(%1) {permutation=(1, 0)}
        return %2, %3""",
        """in %0: f32[3]
        %1: f32[2,4,3] = broadcast(%0) {shape=(2, 4, 3), dims=(2,)}
        %2: f32[3,2] = broadcast(%0) {shape=(3, 2), dims=(0,)}
        return %1, %2""",
    ),
    "a slice of one part of a concatenation": (
        """in %0: f32[2,3]
        in %1: f32[2,4]
        %2: f32[2,7] = concatenate(%0, %1) {axis=1}
        %3: f32[2,2] = slice(%2) {start=(0, 4), stop=(2, 7), step=(1, 2)}
        %4: f32[2,3] = slice(%2) {start=(0, 0), stop=(2, 3), step=(1, 1)}
        return %3, %4""",
        """in %0: f32[2,3]
        in %1: f32[2,4]
        %2: f32[2,2] = slice(%1) {start=(0, 1), stop=(2, 4), step=(1, 2)}
        return %2, %0""",
    ),
    "slices": (
        """in %0: f32[20]
        %1: f32[6] = slice(%0) {start=(2,), stop=(20,), step=(3,)}
        %2: f32[2] = slice(%1) {start=(1,), stop=(5,), step=(2,)}
        return %2""",
        """in %0: f32[20]
        %1: f32[2] = slice(%0) {start=(5,), stop=(12,), step=(6,)}
        return %1""",
    ),
    "exact casts": (
        """in %0: f32[]
        in %1: u8[]
        %2: f64[] = cast(%0) {dtype=f64}
        %3: f32[] = cast(%2) {dtype=f32}
        %4: i32[] = cast(%1) {dtype=i32}
        %5: f32[] = cast(%4) {dtype=f32}
        return %3, %5""",
        """in %0: f32[]
        in %1: u8[]
        %2: f32[] = cast(%1) {dtype=f32}
        return %0, %2""",
    ),
    "signs": (
        """in %0: f32[]
        in %1: f32[]
        %2: f32[] = neg(%0)
        %3: f32[] = neg(%2)
        %4: f32[] = add(%2, %1)
        return %3, %4""",
        """in %0: f32[]
        in %1: f32[]
        %2: f32[] = sub(%1, %0)
        return %0, %2""",
    ),
    "a transposed operand": (
        """in %0: f32[5,3]
        in %1: f32[4,3]
        %2: f32[3,4] = transpose(%1) {permutation=(1, 0)}
        %3: f32[5,4] = dot_general(%0, %2) {lhs_contract=(1,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()}
        %4: f32[4,5] = transpose(%3) {permutation=(1, 0)}
        return %4""",
        """in %0: f32[5,3]
        in %1: f32[4,3]
        %2: f32[4,5] = dot_general(%1, %0) {lhs_contract=(1,), rhs_contract=(1,), lhs_batch=(), rhs_batch=()}
        return %2""",
    ),
}


@pytest.mark.parametrize("name", CANONICAL)
def test_canonicalise(name: str) -> None:
    before, after = (body(text) for text in CANONICAL[name])
    assert str(Canonicalise().run(before)) == str(after)


LEFT_ALONE = {
    "a float through an integer": """in %0: f64[]
        %1: i32[] = cast(%0) {dtype=i32}
        %2: f64[] = cast(%1) {dtype=f64}
        return %2""",
    "a float through a narrower one": """in %0: f64[]
        %1: f32[] = cast(%0) {dtype=f32}
        %2: f64[] = cast(%1) {dtype=f64}
        return %2""",
    "integers wrap, floats saturate": """in %0: i32[]
        %1: f64[] = cast(%0) {dtype=f64}
        %2: i8[] = cast(%1) {dtype=i8}
        return %2""",
    "max with a constant on the left": """in %0: f32[]
        %1: f32[] = constant() {value=f32[]{0.0}}
        %2: f32[] = max(%1, %0)
        return %2""",
    "a sum over one turns -0.0 into 0.0": """in %0: f32[1]
        %1: f32[] = reduce_sum(%0) {axes=(0,)}
        return %1""",
    "a shared product": """in %0: f32[2,3]
        in %1: f32[3,2]
        %2: f32[2,2] = dot_general(%0, %1) {lhs_contract=(1,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()}
        %3: f32[2,2] = transpose(%2) {permutation=(1, 0)}
        return %2, %3""",
    "a shared negation": """in %0: f32[]
        in %1: f32[]
        %2: f32[] = neg(%0)
        %3: f32[] = mul(%2, %1)
        return %2, %3""",
    "x + 0.0": """in %0: f32[]
        %1: f32[] = constant() {value=f32[]{0.0}}
        %2: f32[] = add(%0, %1)
        return %2""",
    "x * 0.0": """in %0: f32[]
        %1: f32[] = constant() {value=f32[]{0.0}}
        %2: f32[] = mul(%0, %1)
        return %2""",
    "0.0 - x": """in %0: f32[]
        %1: f32[] = constant() {value=f32[]{0.0}}
        %2: f32[] = sub(%1, %0)
        return %2""",
    "x / 3": """in %0: f32[]
        %1: f32[] = constant() {value=f32[]{3.0}}
        %2: f32[] = div(%0, %1)
        return %2""",
    "x / 2^-127": """in %0: f32[]
        %1: f32[] = constant() {value=f32[]{5.877472e-39}}
        %2: f32[] = div(%0, %1)
        return %2""",
    "NaN is not itself": """in %0: f32[]
        %1: bool[] = eq(%0, %0)
        %2: f32[] = sub(%0, %0)
        return %1, %2""",
    "not (x < y) with NaN": """in %0: f32[]
        in %1: f32[]
        %2: bool[] = lt(%0, %1)
        %3: bool[] = not(%2)
        return %3""",
    "exp of a constant": """%0: f32[] = constant() {value=f32[]{1.0}}
        %1: f32[] = exp(%0)
        return %1""",
    "an unused input": """in %0: f32[]
        in %1: f32[]
        return %0, %0""",
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_would_change_bits_or_grow_stays(name: str) -> None:
    graph = body(LEFT_ALONE[name])
    for each in pipeline(stabilise=False):
        assert each.run(graph) is graph, each.name


SIMPLE = {
    "one": """%1: f32[] = constant() {value=f32[]{1.0}}
        %2: f32[] = mul(%1, %0)
        %3: f32[] = div(%2, %1)
        return %3""",
    "nothing": """%1: f32[] = constant() {value=f32[]{0.0}}
        %2: f32[] = sub(%0, %1)
        %3: f32[] = neg(%1)
        %4: f32[] = add(%3, %2)
        return %4""",
    "select": """%1: bool[] = constant() {value=bool[]{False}}
        %2: f32[] = exp(%0)
        %3: f32[] = select(%1, %2, %0)
        return %3""",
    "same": """%1: f32[] = max(%0, %0)
        return %1""",
    "negated twice": """%1: f32[] = constant() {value=f32[]{-1.0}}
        %2: f32[] = mul(%0, %1)
        %3: f32[] = div(%2, %1)
        return %3""",
}


@pytest.mark.parametrize("name", SIMPLE)
def test_simplifies_to_its_input(name: str) -> None:
    graph = run_passes(body("in %0: f32[]\n" + SIMPLE[name]), pipeline(stabilise=False))
    assert graph.nodes == ()
    assert graph.outputs == graph.inputs


def test_integer_identities() -> None:
    graph = body("""in %0: i32[2]
        %1: i32[2] = constant() {value=i32[2]{0, 0}}
        %2: i32[2] = mul(%0, %1)
        %3: i32[2] = add(%2, %0)
        %4: i32[2] = sub(%3, %0)
        %5: i32[2] = or(%4, %0)
        return %5""")
    assert run_passes(graph, PIPELINE).outputs == graph.inputs


def test_fold_keeps_broadcasts_small() -> None:
    graph = body("""%0: f32[] = constant() {value=f32[]{2.0}}
        %1: f32[1000,1000] = broadcast(%0) {shape=(1000, 1000), dims=()}
        %2: f32[1000,1000] = mul(%1, %1)
        return %2""")
    folded = Fold().run(graph)
    assert [node.op.name for node in folded.nodes] == ["constant", "broadcast"]


def test_cse_compares_attributes_to_the_bit() -> None:
    graph = body("""%0: f32[] = constant() {value=f32[]{0.0}}
        %1: f32[] = constant() {value=f32[]{-0.0}}
        %2: f32[] = constant() {value=f32[]{0.0}}
        return %0, %1, %2""")
    merged = Cse().run(graph)
    assert len(merged.nodes) == 2
    assert merged.outputs[0] is merged.outputs[2]


CALLS = """
graph inner(%0: f32[2], %1: f32[2]) {
  %2: f32[2] = exp(%0)
  %3: f32[2] = mul(%1, %1)
  return %2, %3
}

graph f(%0: f32[2], %1: f32[2]) donates(0 <- 1) {
  %2: f32[2], %3: f32[2] = call(%0, %1) {graph=@inner}
  %4: f32[2], %5: f32[2] = call(%2, %1) {graph=@inner}
  return %4
}
"""


def test_dce_trims_calls_and_keeps_aliases() -> None:
    trimmed = Dce().run(parse(CALLS))
    assert [[len(node.operands), len(node.results)] for node in trimmed.nodes] == [[1, 1], [1, 1]]
    assert trimmed.nodes[0].attrs == trimmed.nodes[1].attrs
    assert trimmed.aliases == ((0, 1),)


@pytest.mark.parametrize("large", [False, True])
def test_inline_keeps_large_repeated_callees_if_asked(large: bool) -> None:
    lines = "\n".join(f"%{i + 1}: f32[2] = exp(%{i})" for i in range(100 if large else 2))
    last = 100 if large else 2
    text = (
        f"graph block(%0: f32[2]) {{\n{lines}\nreturn %{last}\n}}\n\n"
        + """
    graph f(%0: f32[2]) {
      %1: f32[2] = call(%0) {graph=@block}
      %2: f32[2] = call(%1) {graph=@block}
      return %2
    }"""
    )
    kept = Inline(keep_repeated=True).run(parse(text))
    assert [node.op.name for node in kept.nodes] == (["call", "call"] if large else ["exp"] * 4)
    assert {node.op.name for node in Inline().run(parse(text)).nodes} == {"exp"}


def test_the_engine_refuses_rules_that_grow() -> None:
    x, exp, neg = Var("x"), op(elementwise.exp), op(elementwise.neg)
    graph = body("in %0: f32[]\n%1: f32[] = exp(%0)\nreturn %1")
    with pytest.raises(AssertionError, match="grows the graph"):
        rewrite(graph, [Rule(exp(x), neg(neg(x)))])


def test_rules_that_change_floats_are_off_by_default() -> None:
    graph = body("in %0: f32[]\n%1: f32[] = constant() {value=f32[]{0.0}}\n%2: f32[] = add(%0, %1)\nreturn %2")
    rule = Rule(op(elementwise.add)(Var("x"), Lit(0)), Var("x"), changes_floats=True)
    assert rewrite(graph, [rule]) is graph
    assert rewrite(graph, [rule], change_floats=True).nodes == ()


def test_every_pass_is_reported() -> None:
    seen: list[tuple[str, bool]] = []
    graph = body("in %0: f32[]\n%1: f32[] = exp(%0)\n%2: f32[] = exp(%0)\nreturn %1, %2")
    run_passes(graph, [Cse(), Cse()], lambda name, before, after, seconds: seen.append((name, after is before)))
    assert seen == [("cse", False), ("cse", True)]


def test_regions_are_rewritten_once_and_stay_shared() -> None:
    runs: list[int] = []

    def count(*_: object) -> None:
        runs.append(1)

    rule = NodeRule((elementwise.exp,), lambda context, node: count())
    rewrite(parse(CALLS), [rule])
    assert len(runs) == 1
