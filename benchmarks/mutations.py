"""Small wrong changes of a Python source, one a mutant: a boundary moved, a sign or a side exchanged.

What no test could notice by what the code computes is left alone: docstrings, annotations, imports, decorators.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

COMPARISONS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
ARITHMETIC: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip


def _both_ways(pairs: str) -> dict[str, str]:
    """ "a/b c/d" as {"a": "b", "b": "a", "c": "d", "d": "c"}."""
    split = [pair.split("/") for pair in pairs.split()]
    return {one: other for pair in split for one, other in (pair, pair[::-1])}


FUNCTIONS = _both_ways("min/max argmin/argmax minimum/maximum amin/amax floor/ceil any/all")
NAMES = _both_ways(
    "x/y dx/dy dx2/dy2 xx/yy mean_x/mean_y nearest_x/nearest_y pad_x/pad_y span_x/span_y x0/y0 x1/y1 width/height "
    "left/right top/bottom above/below across/down first/second low/high"
)
"""Exchanged where both are known, so that the mutant does not die of a missing name."""
WORDS = _both_ways(
    "left/right above/below top/bottom upper/lower leftmost/rightmost topmost/lowest darker/brighter "
    "horizontal/vertical horizontally/vertically width/height widest/tallest most/whole"
)
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
WORDS |= dict(zip(ORDINALS, (*ORDINALS[1:], "first"), strict=True))
# Not within braces: "{below}" where "{above}" was would die of a missing key.
_WORD = re.compile(r"(?<![\w{])(" + "|".join(sorted(WORDS)) + r")(?![\w}])")
_WHOLE_NUMBERS = frozenset({"argmax", "argmin", "ceil", "floor", "integers", "len", "sum", "searchsorted"})
_NOT_COMPUTED = frozenset({"annotation", "returns", "decorator_list", "type_params", "ctx"})

Path = tuple[tuple[str, int | None], ...]
"""From the module to a node: a field, and the place in it where it is a list."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """One change of a source; `code_of` applies it."""

    line: int
    kind: str
    before: str
    """The line, or the expression where it goes over several lines."""
    after: str
    at: Path
    node: ast.AST
    """Stands there instead."""


def mutants_of(source: str, left_out: Collection[str] = ()) -> list[Mutant]:
    """Every mutant of a source, in the order of its lines.

    Args:
        source: of a Python module.
        left_out: names of module-level tables that stay as they are.
    """
    found = []
    tree = ast.parse(source)
    for path, node, is_index, names in _sites(tree, (), False, frozenset(), frozenset(left_out)):
        for kind, new in _changes(node, is_index, names):
            line = getattr(node, "lineno", 0)
            before, after = _shown(source, node, new)
            found.append(Mutant(line=line, kind=kind, before=before, after=after, at=path, node=new))
    return sorted(found, key=lambda mutant: mutant.line)


def code_of(source: str, mutant: Mutant | None, file_name: str) -> CodeType:
    """Compile the source with the mutant's change; None: as it is."""
    tree: Any = ast.parse(source)
    if mutant is not None:
        parent = tree
        for field, index in mutant.at[:-1]:
            parent = getattr(parent, field) if index is None else getattr(parent, field)[index]
        field, index = mutant.at[-1]
        if index is None:
            setattr(parent, field, mutant.node)
        else:
            getattr(parent, field)[index] = mutant.node
    return compile(ast.fix_missing_locations(tree), file_name, "exec")


def _sites(
    node: ast.AST, path: Path, is_index: bool, names: frozenset[str], left_out: frozenset[str]
) -> Iterator[tuple[Path, ast.AST, bool, frozenset[str]]]:
    """The nodes that may change: path, node, whether it picks from a sequence, names of the function around it."""
    if isinstance(node, (ast.Import, ast.ImportFrom)) or _is_type(node) or _assigned(node) & left_out:
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    yield path, node, is_index, names
    if isinstance(node, (ast.FunctionDef, ast.Lambda)):
        names |= {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
        names |= {one.arg for one in ast.walk(node) if isinstance(one, ast.arg)}
        names |= {f".{one.attr}" for one in ast.walk(node) if isinstance(one, ast.Attribute)}
    for field, value in ast.iter_fields(node):
        if field in _NOT_COMPUTED:
            continue
        picks = (isinstance(node, ast.Subscript) and field == "slice") or (is_index and isinstance(node, ast.Tuple))
        children = [(None, value)] if isinstance(value, ast.AST) else enumerate(value) if type(value) is list else ()
        for index, child in children:
            if isinstance(child, ast.AST):
                yield from _sites(child, (*path, (field, index)), picks, names, left_out)


def _is_type(node: ast.AST) -> bool:
    """Whether it is there for type checkers alone."""
    if isinstance(node, ast.Subscript):
        return isinstance(node.value, ast.Name) and node.value.id in ("Literal", "Callable")
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _assigned(node: ast.AST) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _changes(node: ast.AST, is_index: bool, names: frozenset[str]) -> Iterator[tuple[str, ast.AST]]:
    """Kinds of changes and what would stand in the node's place."""
    if isinstance(node, ast.Compare):
        for k, op in enumerate(node.ops):
            ops = [*node.ops[:k], COMPARISONS[type(op)](), *node.ops[k + 1 :]]
            yield "comparison", ast.Compare(left=node.left, ops=ops, comparators=node.comparators)
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        yield "arithmetic", ast.BinOp(left=node.left, op=ARITHMETIC[type(node.op)](), right=node.right)
    elif isinstance(node, ast.AugAssign) and type(node.op) in ARITHMETIC:
        yield "arithmetic", ast.AugAssign(target=node.target, op=ARITHMETIC[type(node.op)](), value=node.value)
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "and/or", ast.BoolOp(op=other, values=node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub, ast.Invert)):
        yield "sign or not", node.operand
    elif isinstance(node, ast.Return) and not (node.value is None or _is_none(node.value)):
        yield "return None", ast.Return(value=ast.Constant(value=None))
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield from (("function", _name(other)) for other in [FUNCTIONS.get(node.id)] if other)
        yield from (("name", _name(other)) for other in [NAMES.get(node.id)] if other and other in names)
    elif isinstance(node, ast.Attribute):
        for kind, other in (("function", FUNCTIONS.get(node.attr)), ("name", NAMES.get(node.attr))):
            if other and (kind == "function" or f".{other}" in names):
                yield kind, ast.Attribute(value=node.value, attr=other, ctx=node.ctx)
    elif isinstance(node, ast.keyword) and node.arg in ("min", "max"):
        yield "function", ast.keyword(arg=FUNCTIONS[node.arg], value=node.value)
    elif isinstance(node, ast.Call):
        yield from _calls(node)
    elif isinstance(node, ast.Constant):
        yield from (("constant", ast.Constant(value=value)) for value in _constants(node.value, is_index))


def _calls(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    """Rounding done another way, a sign kept, and the values of two keywords exchanged."""
    called = node.func.id if isinstance(node.func, ast.Name) else ""
    if called == "abs":
        yield "function", node.args[0]
    if called == "round" and len(node.args) == 1:
        yield "rounding", ast.Call(func=_name("int"), args=node.args, keywords=[])
    if called == "int" and not _is_whole(node.args[0]):
        yield "rounding", ast.Call(func=_name("round"), args=node.args, keywords=[])
    if isinstance(node.func, ast.Attribute) and node.func.attr == "round" and len(node.args) == 1:
        floor = ast.Attribute(value=node.func.value, attr="floor", ctx=ast.Load())
        yield "rounding", ast.Call(func=floor, args=node.args, keywords=node.keywords)
    place = {keyword.arg: k for k, keyword in enumerate(node.keywords)}
    for one, other in NAMES.items():
        if one < other and one in place and other in place:
            keywords = list(node.keywords)
            for here, there in ((one, other), (other, one)):
                keywords[place[here]] = ast.keyword(arg=here, value=node.keywords[place[there]].value)
            yield "keywords", ast.Call(func=node.func, args=node.args, keywords=keywords)


def _constants(value: object, is_index: bool) -> Iterator[object]:
    """What may stand in a constant's place."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        # Of an index, its neighbour: x where y was, the first where the second was.
        yield {0: 1, 1: 0, 2: 0, 3: 1}.get(value, value - 1) if is_index else value + 1
    elif isinstance(value, float):
        yield round(value * 1.1, 8) if value else 1.0
    elif isinstance(value, str):
        for match in _WORD.finditer(value):
            yield value[: match.start()] + WORDS[match.group()] + value[match.end() :]


def _is_whole(node: ast.AST) -> bool:
    """Whether it is a whole number by its look, which rounding leaves alone."""
    function = node.func if isinstance(node, ast.Call) else None
    return getattr(function, "attr", getattr(function, "id", "")) in _WHOLE_NUMBERS


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _name(name: str) -> ast.Name:
    return ast.Name(id=name, ctx=ast.Load())


def _shown(source: str, node: ast.AST, new: ast.AST) -> tuple[str, str]:
    """The line before and after, or the two expressions."""
    old_text, new_text = ast.unparse(node), ast.unparse(new)
    # Before Python 3.12 what stands in an f-string has no place of its own; then there is no line to show.
    segment = ast.get_source_segment(source, node)
    if segment is None or "\n" in segment or segment not in source.splitlines()[node.lineno - 1]:
        return old_text, new_text
    try:
        same = segment == old_text or ast.unparse(ast.parse(segment)) == old_text
    except SyntaxError:
        same = False
    if not same:
        return old_text, new_text
    line = source.splitlines()[node.lineno - 1]
    if isinstance(new, (ast.BinOp, ast.Compare, ast.BoolOp)):
        new_text = f"({new_text})" if line[: node.col_offset].rstrip().endswith(tuple("+-*/%")) else new_text
    return line.strip(), (line[: node.col_offset] + new_text + line[node.end_col_offset :]).strip()
