"""Mutation operators on Python's syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
OPPOSITES = {"min": "max", "max": "min", "any": "all", "all": "any"}
# Constants of these keywords set the appearance of a figure or page, not a value.
APPEARANCE = frozenset(
    (
        *("bbox_to_anchor", "borderaxespad", "capsize", "elinewidth", "figsize", "fontsize"),
        *("height", "linewidth", "markersize", "max_chars", "opacity", "pad", "width", "zorder"),
    )
)
MODULE_NAMES = frozenset(("ast", "np", "pd", "px", "scipy", "st", "torch", "typer"))
MODULE_LEVEL = "<module>"
_MAX_TEXT = 100


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One mistake in one file.

    Attributes
    ----------
    path : str
        File relative to the root of the project, with "/".
    function : str
        Outermost function or method around the mistake, such as "Session.close"; "<module>" for a
        statement that is executed by the import of the file.
    operator : str
        Kind of the mistake, such as "comparison".
    before, after : str
        Code before and after.
    number : int
        Counts equal mistakes in the function, from 1.
    line : int
        Line of the statement. Not a part of the identity, which survives changes elsewhere.
    """

    path: str
    function: str
    operator: str
    before: str
    after: str
    number: int
    line: int

    @property
    def identity(self) -> str:
        """Text that identifies the mistake, whatever line it lies in."""
        return (
            f"{self.path}::{self.function}::{self.operator}::{self.before} -> {self.after}"
            f"::{self.number}"
        )


# A slot in the tree: an object with an attribute's name, or a list with a position.
_Slot = tuple[Any, int | str]


@dataclass(frozen=True)
class _Change:
    """New contents of one or two slots in the tree; shown: the node that is shown to people."""

    operator: str
    contents: tuple[tuple[_Slot, Any], ...]
    shown: ast.AST | None = None

    def apply(self) -> tuple[tuple[_Slot, Any], ...]:
        """Make the change and return the former contents."""
        former = tuple((slot, _read(slot)) for slot, _ in self.contents)
        for slot, content in self.contents:
            _write(slot, content)
        return former

    def texts(self) -> tuple[str, str]:
        """Return the code before and after; without much of its surroundings where it is long."""
        if self.shown is not None:
            before = ast.unparse(self.shown)
            former = _Change(self.operator, self.apply())
            after = ast.unparse(self.shown)
            former.apply()
            if max(len(before), len(after)) <= _MAX_TEXT:
                return before, after
        old = ", ".join(_text(_read(slot)) for slot, _ in self.contents)
        new = ", ".join(_text(content) for _, content in self.contents)
        return old, new


def generate_mutants(root: Path, path: str) -> list[Mutant]:
    """Return all mutants of a file.

    Messages of errors, docstrings, annotations and decorators are not changed, nor constants that
    only set an appearance.

    Parameters
    ----------
    root : Path
        Root of the project.
    path : str
        The file, relative to it.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "a.py").write_text("def is_minor(age):\\n    return age < 18\\n")
    >>> for mutant in generate_mutants(folder, "a.py"):
    ...     print(mutant.operator, "|", mutant.before, "|", mutant.after)
    comparison | age < 18 | age <= 18
    comparison | age < 18 | age >= 18
    constant | 18 | 19
    return | return age < 18 | return None
    """
    return [mutant for mutant, _, _ in _mutants(root, path)]


def mutated_source(root: Path, mutant: Mutant) -> str:
    """Return the file of a mutant with the mistake, without comments and formatting.

    LookupError if the file no longer has this mutant.
    """
    for candidate, change, tree in _mutants(root, mutant.path):
        if candidate.identity == mutant.identity:
            change.apply()
            return ast.unparse(ast.fix_missing_locations(tree))
    raise LookupError(f"{mutant.path} has no mutant {mutant.identity}")


def _mutants(root: Path, path: str) -> Iterator[tuple[Mutant, _Change, ast.Module]]:
    tree = ast.parse((root / path).read_text(encoding="utf-8"))
    counts: dict[tuple[str, str, str, str], int] = {}
    for function, statement, change in _changes_of_body(tree.body, MODULE_LEVEL):
        before, after = change.texts()
        if before == after:
            continue
        key = (function, change.operator, before, after)
        counts[key] = counts.get(key, 0) + 1
        mutant = Mutant(
            path=path,
            function=function,
            operator=change.operator,
            before=before,
            after=after,
            number=counts[key],
            line=statement.lineno,
        )
        yield mutant, change, tree


def _changes_of_body(
    body: list[ast.stmt], function: str, prefix: str = ""
) -> Iterator[tuple[str, ast.stmt, _Change]]:
    """Yield (function, statement, change) of the statements of a block."""
    for position, statement in enumerate(list(body)):
        name = function
        if isinstance(statement, ast.ClassDef):
            # The body of a class is executed by the import of the file.
            yield from _changes_of_body(statement.body, function, f"{prefix}{statement.name}.")
            continue
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for change in _default_changes(statement.args):
                yield function, statement, change
            if function == MODULE_LEVEL:
                name = f"{prefix}{statement.name}"
        elif not _is_skipped(statement):
            for change in _statement_changes(statement, (body, position)):
                yield name, statement, change
        for block in _blocks(statement):
            yield from _changes_of_body(block, name, prefix)


def _is_skipped(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Raise | ast.Import | ast.ImportFrom):
        return True
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """Yield the blocks of statements within a statement."""
    if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
        return
    for name in ("body", "orelse", "finalbody"):
        if block := getattr(statement, name, None):
            yield block
    for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield part.body


def _default_changes(arguments: ast.arguments) -> Iterator[_Change]:
    for defaults in (arguments.defaults, arguments.kw_defaults):
        for position, default in enumerate(defaults):
            if (changed := _changed_constant(default)) is not None:
                yield _Change("default", (((defaults, position), changed),))


def _statement_changes(statement: ast.stmt, slot: _Slot) -> Iterator[_Change]:
    """Yield dropped calls and values, and changes of the statement's own expressions."""
    if isinstance(statement, ast.Expr):
        yield _Change("call", ((slot, ast.Pass()),))
    if isinstance(statement, ast.Return) and not isinstance(statement.value, ast.Constant | None):
        yield _Change("return", ((slot, ast.Return(ast.Constant(None))),))
    yield from _node_changes(statement)
    yield from _name_exchanges(statement)


def _child_slots(node: ast.AST) -> Iterator[tuple[_Slot, ast.AST]]:
    """Yield the expressions directly within a node, with their slots."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "targets", "target"):
            continue
        slots: list[_Slot] = [(node, name)]
        if isinstance(value, list):
            slots = [(value, position) for position in range(len(value))]
        for slot in slots:
            child = _read(slot)
            if isinstance(child, ast.AST) and not isinstance(
                child, ast.stmt | ast.excepthandler | ast.match_case | ast.expr_context
            ):
                yield slot, child


def _node_changes(node: ast.AST, is_collection: bool = False) -> Iterator[_Change]:
    """Yield the changes within a node; is_collection: the order of its members has no meaning."""
    if isinstance(node, ast.keyword) and node.arg in APPEARANCE:
        return
    yield from _operator_changes(node)
    if not is_collection:
        yield from _exchanges(node)
    for slot, child in _child_slots(node):
        shown = None if isinstance(node, ast.stmt) else node
        for operator, new in _replacements(child):
            yield _Change(operator, ((slot, new),), shown)
        members = (
            node.comparators
            if isinstance(node, ast.Compare) and isinstance(node.ops[-1], ast.In | ast.NotIn)
            else []
        )
        yield from _node_changes(child, any(child is member for member in members))


def _replacements(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield (operator, node to put in the slot of this one)."""
    if (changed := _changed_constant(node)) is not None:
        yield "constant", changed
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not", node.operand
    elif isinstance(node, ast.Name) and node.id in OPPOSITES:
        yield "function", ast.Name(OPPOSITES[node.id])


def _operator_changes(node: ast.AST) -> Iterator[_Change]:
    """Yield changes of a node's own operator or condition."""
    if isinstance(node, ast.Compare):
        for position, operator in enumerate(node.ops):
            for other in COMPARISONS[type(operator)]:
                yield _Change("comparison", (((node.ops, position), other()),), node)
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in ARITHMETIC:
        operands = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.value,)
        if not any(_is_text(operand) for operand in operands):
            yield _Change("arithmetic", (((node, "op"), ARITHMETIC[type(node.op)]()),), node)
    elif isinstance(node, ast.BoolOp):
        other_operator = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield _Change("and/or", (((node, "op"), other_operator),), node)
    elif isinstance(node, ast.If | ast.IfExp):
        for value in (True, False):
            yield _Change("condition", (((node, "test"), ast.Constant(value)),))
    elif isinstance(node, ast.comprehension):
        for position in range(len(node.ifs)):
            yield _Change("condition", (((node.ifs, position), ast.Constant(True)),))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _changed_constant(node: ast.AST | None) -> ast.Constant | None:
    if not isinstance(node, ast.Constant):
        return None
    if isinstance(node.value, bool):
        return ast.Constant(not node.value)
    if isinstance(node.value, int):
        return ast.Constant(node.value + 1)
    if isinstance(node.value, float):
        return ast.Constant(node.value * 2 if node.value else 1.0)
    return None


def _exchanges(node: ast.AST) -> Iterator[_Change]:
    """Yield exchanges of neighbouring arguments, values of a mapping, and names of columns."""
    slots: list[_Slot] = []
    operator = "columns"
    if isinstance(node, ast.Call):
        operator = "arguments"
        keywords = [k for k in node.keywords if k.arg and k.arg not in APPEARANCE]
        for first, second in pairwise(keywords):
            yield _exchange(operator, (first, "value"), (second, "value"), node)
        slots = [(node.args, position) for position in range(len(node.args))]
    elif isinstance(node, ast.Dict):
        slots = [(node.values, position) for position in range(len(node.values))]
    elif isinstance(node, ast.Tuple | ast.List) and all(_is_text(item) for item in node.elts):
        slots = [(node.elts, position) for position in range(len(node.elts))]
    for first_slot, second_slot in pairwise(slots):
        if not any(isinstance(_read(p), ast.Starred) for p in (first_slot, second_slot)):
            yield _exchange(operator, first_slot, second_slot, node)


def _name_exchanges(statement: ast.stmt) -> Iterator[_Change]:
    """Yield exchanges of the columns or attributes of one object within a statement.

    An example is `row["low"]` for `row["high"]`, where the statement uses both.
    """
    groups: dict[str, list[_Slot]] = {}
    nodes = [n for _, child in _child_slots(statement) for n in ast.walk(child)]
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    for node in nodes:
        if isinstance(node, ast.Subscript) and _is_text(node.slice):
            groups.setdefault(f"{ast.unparse(node.value)}[]", []).append((node, "slice"))
        elif isinstance(node, ast.Attribute) and id(node) not in called:
            owner = ast.unparse(node.value)
            # Functions and constants of a module are not fields of a record.
            if owner not in MODULE_NAMES:
                groups.setdefault(owner, []).append((node, "attr"))
    for slots in groups.values():
        for first, second in pairwise(slots):
            yield _exchange("columns", first, second)


def _exchange(operator: str, first: _Slot, second: _Slot, shown: ast.AST | None = None) -> _Change:
    return _Change(operator, ((first, _read(second)), (second, _read(first))), shown)


def _read(slot: _Slot) -> Any:
    owner, key = slot
    return owner[key] if isinstance(key, int) else getattr(owner, key)


def _write(slot: _Slot, content: Any) -> None:
    owner, key = slot
    if isinstance(key, int):
        owner[key] = content
    else:
        setattr(owner, key, content)


def _text(content: Any) -> str:
    """Return code as one short line."""
    if isinstance(content, str):
        return content
    if isinstance(content, ast.cmpop | ast.operator | ast.boolop):
        return type(content).__name__
    text = " ".join(ast.unparse(content).split())
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]} ..."
