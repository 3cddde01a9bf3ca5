"""Read loop-IR text: `parse_kernel(print_kernel(k)) == k`. What cannot be read raises `ParseError` with its line."""

import json
import math
import re
from typing import NoReturn, cast, get_args

from graphc.core.dtypes import ALL, DType, bool_, int64, uint32
from graphc.core.errors import ParseError
from graphc.kernel.ir import (
    Accumulate,
    Alloc,
    Binary,
    BinaryOp,
    Bitcast,
    Buffer,
    CallLibrary,
    Cast,
    Combine,
    Compare,
    CompareOp,
    Const,
    DotPair,
    Expr,
    Fma,
    For,
    If,
    Kernel,
    Let,
    Load,
    LoopKind,
    Mode,
    Param,
    Prefetch,
    Select,
    Space,
    Stmt,
    Store,
    Unary,
    UnaryOp,
    Var,
    While,
    in_pairs,
)
from graphc.kernel.printer import BINARY_SYMBOLS, COMPARE_PRECEDENCE, COMPARE_SYMBOLS

_TOKEN = re.compile(
    r'\s*("(?:[^"\\]|\\.)*"|\d+\.\d+(?:e[+-]?\d+)?|\d+e[+-]?\d+|\d+|\w+|\.\.|<<|>>|<=|>=|==|!=|[-+*/%&|^<>()\[\],:=])'
)
_DTYPES: dict[str, DType] = {dtype.short: dtype for dtype in ALL}
_BINARY: dict[str, tuple[BinaryOp, int]] = {symbol: (op, level) for op, (symbol, level) in BINARY_SYMBOLS.items()}
_COMPARE: dict[str, CompareOp] = {symbol: op for op, symbol in COMPARE_SYMBOLS.items()}
_ARITY = {"fma": 3, "dot_pair": 3, "select": 3, "min": 2, "max": 2}


def parse_kernel(text: str) -> Kernel:
    """The kernel a text describes."""
    return _Parser(text).kernel()


class _Parser:
    def __init__(self, text: str) -> None:
        self.lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
        self.line = 0
        self.tokens: list[str] = []
        self.at = 0
        self.vars: dict[str, DType] = {}
        self.buffers: dict[str, Buffer] = {}

    # --------------------------------------------------------------------------------------------------- tokens

    def fail(self, message: str) -> NoReturn:
        number = self.lines[min(self.line, len(self.lines)) - 1][0] if self.lines else 0
        raise ParseError(f"line {number}: {message}")

    def next_line(self) -> None:
        """Make the tokens of the next line current."""
        if self.line == len(self.lines):
            self.fail("the text ends too early")
        text = self.lines[self.line][1].rstrip()
        self.line += 1
        self.tokens, self.at, position = [], 0, 0
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None:
                self.fail(f"cannot read {text[position:]!r}")
            self.tokens.append(found.group(1))
            position = found.end()

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, wanted: str = "") -> str:
        token = self.peek()
        if not token or (wanted and token != wanted):
            self.fail(f"expected {wanted or 'more'}, found {token or 'the end of the line'}")
        self.at += 1
        return token

    def accept(self, wanted: str) -> bool:
        if self.peek() != wanted:
            return False
        self.at += 1
        return True

    def end(self) -> None:
        if self.peek():
            self.fail(f"unexpected {self.peek()}")

    def integer(self) -> int:
        token = self.take()
        if not token.isdigit():
            self.fail(f"expected a whole number, found {token}")
        return int(token)

    def string(self) -> str:
        return str(json.loads(self.take()))

    def dtype(self) -> DType:
        name = self.take()
        if name not in _DTYPES:
            self.fail(f"unknown dtype {name}")
        return _DTYPES[name]

    # --------------------------------------------------------------------------------------------------- kernels

    def kernel(self) -> Kernel:
        self.next_line()
        self.take("kernel")
        name = self.string() if self.peek().startswith('"') else self.take()
        self.take("(")
        self.end()
        params: list[Param] = []
        self.next_line()
        while self.peek() != ")":
            params.append(self.param())
            self.next_line()
        self.take(")")
        flops = self.integer() if self.accept("flops") else 0
        sources: list[str] = []
        if self.accept("from"):
            sources.append(self.string())
            while self.accept(","):
                sources.append(self.string())
        self.take(":")
        self.end()
        body = self.block(0)
        if self.line < len(self.lines):
            self.next_line()
            self.fail("unexpected indentation")
        return Kernel(name, tuple(params), body, flops, tuple(sources))

    def param(self) -> Param:
        mode = self.take()
        if mode not in get_args(Mode):
            self.fail(f"unknown mode {mode}")
        buffer = self.buffer("param")
        source = self.string() if self.peek().startswith('"') else ""
        aliases: list[str] = []
        if self.accept("alias"):
            self.take("(")
            aliases.append(self.take())
            while self.accept(","):
                aliases.append(self.take())
            self.take(")")
        self.take(",")
        self.end()
        return Param(buffer, cast(Mode, mode), source, tuple(aliases))

    def buffer(self, space: Space) -> Buffer:
        name = self.take()
        self.take(":")
        dtype = self.dtype()
        self.take("[")
        shape: list[int] = []
        while not self.accept("]"):
            shape.append(self.integer())
            if self.peek() != "]":
                self.take(",")
        self.buffers[name] = Buffer(name, dtype, tuple(shape), space)
        return self.buffers[name]

    # ------------------------------------------------------------------------------------------------ statements

    def indent(self) -> int:
        """The indentation of the next line; -1 at the end."""
        if self.line == len(self.lines):
            return -1
        line = self.lines[self.line][1]
        return len(line) - len(line.lstrip())

    def block(self, outside: int) -> tuple[Stmt, ...]:
        inside = self.indent()
        statements: list[Stmt] = []
        while inside > outside and self.indent() == inside:
            self.next_line()
            statements.append(self.statement(inside))
        return tuple(statements)

    def statement(self, indent: int) -> Stmt:
        following = self.tokens[1] if len(self.tokens) > 1 else ""
        if following in ("[", "="):
            return self.store()
        match self.take():
            case "let":
                return self.let()
            case "alloc":
                return self.alloc()
            case "prefetch":
                return self.prefetch()
            case "call":
                return self.call_library()
            case "if":
                return self.conditional(indent)
            case "while":
                return self.loop_while(indent)
            case "distinct":
                return self.store(distinct=True)
            case kind if kind in get_args(LoopKind):
                return self.loop(cast(LoopKind, kind), indent)
            case other:
                self.fail(f"unknown statement {other}")

    def loop(self, kind: LoopKind, indent: int) -> For:
        var = Var(self.take())
        self.take("in")
        if self.integer() != 0:
            self.fail("loops start at 0")
        self.take("..")
        extent = self.expr()
        self.take(":")
        self.end()
        self.vars[var.name] = int64
        return For(var, extent, kind, self.block(indent))

    def let(self) -> Let:
        name = self.take()
        self.take(":")
        dtype = self.dtype()
        self.take("=")
        value = self.expr()
        self.end()
        self.vars[name] = dtype
        return Let(Var(name, dtype), value)

    def alloc(self) -> Alloc:
        space = self.take()
        if space not in get_args(Space):
            self.fail(f"unknown space {space}")
        buffer = self.buffer(cast(Space, space))
        self.end()
        return Alloc(buffer)

    def prefetch(self) -> Prefetch:
        place = self.access(self.take())
        self.end()
        return Prefetch(*place)

    def call_library(self) -> CallLibrary:
        function = self.take()
        self.take("(")
        buffers: list[Buffer] = []
        while not self.accept(")"):
            name = self.take()
            if name not in self.buffers:
                self.fail(f"unknown buffer {name}")
            buffers.append(self.buffers[name])
            if self.peek() != ")":
                self.take(",")
        self.end()
        return CallLibrary(function, tuple(buffers))

    def conditional(self, indent: int) -> If:
        cond = self.expr()
        self.take(":")
        self.end()
        then = self.block(indent)
        if self.indent() != indent or self.lines[self.line][1].strip() != "else:":
            return If(cond, then)
        self.next_line()
        return If(cond, then, self.block(indent))

    def loop_while(self, indent: int) -> While:
        cond = self.expr()
        self.take("at")
        self.take("most")
        bound = self.integer()
        self.take(":")
        self.end()
        return While(cond, bound, self.block(indent))

    def store(self, distinct: bool = False) -> Store | Accumulate:
        targets = [self.access(self.take())]
        while self.accept(","):
            targets.append(self.access(self.take()))
        combine = "" if self.peek() == "=" else self.take()
        self.take("=")
        values = [self.expr()]
        while self.accept(","):
            values.append(self.expr())
        self.end()
        if combine:
            if combine not in get_args(Combine):
                self.fail(f"unknown combine {combine}")
            return Accumulate(tuple(targets), tuple(values), cast(Combine, combine))
        if len(targets) != 1 or len(values) != 1:
            self.fail("a store has one target and one value")
        return Store(*targets[0], values[0], distinct)

    def access(self, name: str) -> tuple[Buffer, tuple[Expr, ...]]:
        if name not in self.buffers:
            self.fail(f"unknown buffer {name}")
        self.take("[")
        return self.buffers[name], self.sequence("]")

    def sequence(self, close: str) -> tuple[Expr, ...]:
        items: list[Expr] = []
        while not self.accept(close):
            items.append(self.expr())
            if self.peek() != close:
                self.take(",")
        return tuple(items)

    # ----------------------------------------------------------------------------------------------- expressions

    def expr(self, level: int = 0) -> Expr:
        """Precedence climbing: everything that binds at least as tightly as `level`."""
        left = self.primary()
        while True:
            symbol = self.peek()
            if symbol in _BINARY and _BINARY[symbol][1] >= level:
                self.at += 1
                op, own = _BINARY[symbol]
                left = Binary(op, left, self.expr(own + 1))
            elif symbol in _COMPARE and level <= COMPARE_PRECEDENCE:
                self.at += 1
                left = Compare(_COMPARE[symbol], left, self.expr(COMPARE_PRECEDENCE + 1))
            else:
                return left

    def primary(self) -> Expr:
        token = self.take()
        if token == "(":
            inner = self.expr()
            self.take(")")
            return inner
        if token == "-":
            return self.number(self.take(), -1)
        if token[0].isdigit() or (token in ("inf", "nan") and self.peek() == ":"):
            return self.number(token, 1)
        if token in ("true", "false"):
            return Const(token == "true", bool_)
        if self.peek() == "[":
            return Load(*self.access(token))
        if token in self.buffers and self.accept(":"):
            self.take(uint32.short)
            buffer, idx = self.access(token)
            return Load(in_pairs(buffer), idx)
        if self.accept("("):
            return self.call(token, self.sequence(")"))
        if token not in self.vars:
            self.fail(f"unknown variable {token}")
        return Var(token, self.vars[token])

    def number(self, token: str, sign: int) -> Const:
        carries_dtype = self.peek() == ":" and self.at + 1 < len(self.tokens) and self.tokens[self.at + 1] in _DTYPES
        dtype = int64
        if carries_dtype:
            self.take(":")
            dtype = self.dtype()
        try:
            if not dtype.is_float:
                return Const(sign * int(token), dtype)
            return Const(math.nan if token == "nan" else sign * float(token), dtype)
        except ValueError:
            self.fail(f"{token} is no {dtype}")

    def call(self, name: str, args: tuple[Expr, ...]) -> Expr:
        if len(args) != _ARITY.get(name, 1):
            self.fail(f"{name} takes {_ARITY.get(name, 1)} argument(s), found {len(args)}")
        if name in _DTYPES:
            return Cast(args[0], _DTYPES[name])
        if name.startswith("as_") and name[3:] in _DTYPES:
            return Bitcast(args[0], _DTYPES[name[3:]])
        if name in ("min", "max"):
            return Binary(cast(BinaryOp, name), args[0], args[1])
        if name == "select":
            return Select(args[0], args[1], args[2])
        if name == "fma":
            return Fma(args[0], args[1], args[2])
        if name == "dot_pair":
            return DotPair(args[0], args[1], args[2])
        if name in get_args(UnaryOp):
            return Unary(cast(UnaryOp, name), args[0])
        self.fail(f"unknown function {name}")
