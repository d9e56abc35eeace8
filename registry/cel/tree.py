"""Parsing CEL, and reading the tree that cel-python's parser makes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import celpy
from celpy.celparser import CELParseError

from registry.cel.scope import CelInvalid
from registry.errors import Text

Tree = Any
"""lark.Tree, or a token."""

TEXT_CHARS_MAX = 4_000  # a rule that needs more is several rules
DEPTH_MAX = (
    250  # levels of the grammar's tree: some 15 for a comparison or a pair of parentheses, one for each further `&&`
)
DEPTH_BY_ROWS_MAX = 100  # cel-python takes six frames of Python's stack a level

_environment = celpy.Environment()


def parse(text: str) -> Tree:
    """The tree of a CEL expression, `record.x == null` rewritten to `!has(record.x)`. Raises CelInvalid."""
    if len(text) > TEXT_CHARS_MAX:
        raise CelInvalid(
            "too_long",
            Text(
                f"the expression has {len(text)} characters, at most {TEXT_CHARS_MAX} are allowed",
                f"biểu thức có {len(text)} ký tự, tối đa {TEXT_CHARS_MAX}",
            ),
        )
    try:
        tree = _environment.compile(text)
    except CELParseError as error:
        where = f" at line {error.line}, column {error.column}" if error.line else ""
        o_dau = f" ở dòng {error.line}, cột {error.column}" if error.line else ""
        raise CelInvalid("syntax", Text(f"not a CEL expression{where}", f"không phải biểu thức CEL{o_dau}")) from None
    if depth(tree) > DEPTH_MAX:
        raise too_deep()
    return _null_as_absent(tree)


def depth(tree: Tree) -> int:
    """Levels of the tree, counted without recursion."""
    deepest, stack = 0, [(tree, 1)]
    while stack:
        node, level = stack.pop()
        deepest = max(deepest, level)
        stack += [(child, level + 1) for child in node.children if hasattr(child, "children")]
    return deepest


def too_deep() -> CelInvalid:
    return CelInvalid("too_deep", Text("the expression is nested too deeply", "biểu thức lồng nhau quá sâu"))


def unwrap(tree: Tree) -> Tree:
    """The tree without the levels of the grammar that hold a single child, and without parentheses."""
    while hasattr(tree, "children") and len(tree.children) == 1 and tree.data in _LEVELS:
        tree = tree.children[0]
    return tree


_LEVELS = frozenset(
    [
        "expr",
        "conditionalor",
        "conditionaland",
        "relation",
        "addition",
        "multiplication",
        "unary",
        "member",
        "primary",
        "paren_expr",
    ]
)


def path_of(tree: Tree) -> tuple[str, ...] | None:
    """("record", "a", "b") of `record.a.b`; None of anything else."""
    tree = unwrap(tree)
    if not hasattr(tree, "data"):
        return None
    if tree.data in ("ident", "dot_ident"):
        return (str(tree.children[0]),)
    if tree.data == "member_dot":
        above = path_of(tree.children[0])
        return None if above is None else (*above, str(tree.children[1]))
    return None


def literal(written: str, kind: str) -> Any:
    """The value of a literal written. Raises CelInvalid on one that this project doesn't take (bytes, unsigned)."""
    if kind == "INT_LIT":
        return int(written, 0) if "x" in written else int(written)
    if kind == "FLOAT_LIT":
        return float(written)
    if kind == "BOOL_LIT":
        return written == "true"
    if kind == "NULL_LIT":
        return None
    if kind in ("STRING_LIT", "MLSTRING_LIT"):
        raw = written[0] in "rR"
        body = written[1:] if raw else written
        quote = 3 if body[:3] in ('"""', "'''") else 1
        text = body[quote:-quote]
        return text if raw else _unescape(text)
    raise CelInvalid("literal", Text("bytes and unsigned numbers are not used here", "không dùng byte và số không dấu"))


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    quoted = (
        text.replace("\n", "\\n").replace('"', '\\"').replace('\\\\"', '\\"').replace("\\`", "`").replace("\\?", "?")
    )
    try:
        return str(ast.literal_eval(f'"{quoted}"'))
    except (ValueError, SyntaxError):
        raise CelInvalid("literal", Text("a string has an unknown escape", "chuỗi có ký tự thoát lạ")) from None


def walk(tree: Tree) -> Iterator[Tree]:
    stack = [tree]
    while stack:
        node = stack.pop()
        if hasattr(node, "data"):
            yield node
            stack.extend(child for child in node.children if child is not None)


def paths(tree: Tree, root: str) -> set[tuple[str, ...]]:
    """Every longest path below `root`, e.g. `record.a.b` gives ("a", "b"); `root` alone gives ()."""
    found: set[tuple[str, ...]] = set()
    stack = [tree]
    while stack:
        node = stack.pop()
        path = path_of(node)
        if path is not None:
            if path[0] == root:
                found.add(path[1:])
            continue
        if hasattr(node, "data"):
            children = [child for child in node.children if child is not None]
            stack.extend(children)
    return found


def fields_read(tree: Tree) -> set[str]:
    """The dotted paths of the record's fields that the expression reads."""
    return {".".join(path) for path in paths(tree, "record")}


def reader_attributes(tree: Tree) -> set[str]:
    """The attributes of the reader that the expression reads."""
    return {".".join(path) for path in paths(tree, "reader")}


def _null_as_absent(tree: Tree) -> Tree:
    if not hasattr(tree, "data"):
        return tree
    children = [_null_as_absent(child) for child in tree.children]
    tree = tree.__class__(tree.data, children, tree.meta)  # cel-python's errors ask for the line
    if tree.data != "relation" or len(children) != 2 or children[0] is None:
        return tree
    operator = children[0]
    if operator.data not in ("relation_eq", "relation_ne"):
        return tree
    sides = [operator.children[0], children[1]]
    nulls = [_is_null(side) for side in sides]
    if nulls.count(True) != 1:
        return tree
    field = sides[nulls.index(False)]
    path = path_of(field)
    if path is None or len(path) < 2:
        raise CelInvalid("null", Text("only a field can be compared with null", "chỉ so sánh được một trường với null"))
    return parse_has(field, negated=operator.data == "relation_eq")


def _is_null(tree: Tree) -> bool:
    node = unwrap(tree)
    return hasattr(node, "data") and node.data == "literal" and node.children[0].type == "NULL_LIT"


def parse_has(field: Tree, negated: bool) -> Tree:
    """`has(field)` or `!has(field)` as a relation."""
    call = _environment.compile("!has(a.b)" if negated else "has(a.b)")
    for node in walk(call):
        if node.data == "exprlist":
            make = node.__class__
            inner = field
            for level in ("relation", "conditionaland", "conditionalor", "expr"):
                if inner.data != level:
                    inner = make(level, [inner], node.meta)
            node.children = [inner]
    # As a relation: expr > conditionalor > conditionaland > relation
    return call.children[0].children[0].children[0]
