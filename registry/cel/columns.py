"""CEL as Polars expressions, with CEL's types: a comparison of a string with a number is an error here, not a surprise later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from registry.cel import functions
from registry.cel.functions import Typed
from registry.cel.scope import CelInvalid, NotByColumns, Scope
from registry.cel.tree import DEPTH_BY_ROWS_MAX, Tree, depth, literal, path_of, too_deep, unwrap
from registry.errors import Text

INT, DOUBLE, STRING, BOOL = pl.Int64(), pl.Float64(), pl.String(), pl.Boolean()


def compile_columns(tree: Tree, scope: Scope) -> pl.Expr | None:
    """A boolean expression over a frame of `scope.fields`, null where there is no answer.

    None where the expression has no such form; `evaluate_rows` does it then. Raises CelInvalid on a field or list that
    isn't there, on operators over types that have no such operator, and when the answer isn't true or false.
    """
    try:
        value = _Compiler(scope).value(tree)
    except NotByColumns:
        if depth(tree) > DEPTH_BY_ROWS_MAX:
            raise too_deep() from None
        return None
    if value.dtype != BOOL:
        raise CelInvalid(
            "type", Text("the expression is not true or false", "biểu thức không cho kết quả đúng hoặc sai")
        )
    return value.expr


def named(dtype: pl.DataType) -> str:
    """CEL's word for a column's type."""
    return {"Int64": "int", "Float64": "double", "String": "string", "Boolean": "bool", "Date": "date"}.get(
        str(dtype), "list" if isinstance(dtype, pl.List) else "record" if isinstance(dtype, pl.Struct) else str(dtype)
    )


@dataclass(frozen=True)
class _Compiler:
    scope: Scope
    # The variable of a macro over a list, while inside it: nothing else can be named there.
    variable: tuple[str, pl.DataType] | None = None

    def value(self, tree: Tree) -> Typed:
        tree = unwrap(tree)
        path = path_of(tree)
        if path is not None:
            return self.named_value(path)
        handler: Callable[[Any], Typed] | None = getattr(self, tree.data, None)
        if handler is None:
            raise NotByColumns
        return handler(tree.children)

    # names

    def named_value(self, path: tuple[str, ...]) -> Typed:
        root, *rest = path
        if self.variable is not None:
            if root != self.variable[0]:
                raise NotByColumns
            return _below(Typed(pl.element(), self.variable[1]), rest, root)
        if root == "record" and rest:
            if rest[0] not in self.scope.fields:
                raise _no_field(rest)
            return _below(Typed(pl.col(rest[0]), self.scope.fields[rest[0]]), rest[1:], rest[0])
        if root == "codes" and len(rest) == 1:
            if rest[0] not in self.scope.codes:
                raise CelInvalid(
                    "unknown_code_list", Text(f"there is no code list {rest[0]}", f"không có danh mục {rest[0]}")
                )
            values = list(self.scope.codes[rest[0]])
            return Typed(pl.lit(pl.Series(values, dtype=STRING).implode()), pl.List(STRING), values)
        if root == "today" and not rest:
            return Typed(pl.lit(self.scope.today, dtype=pl.Date()), pl.Date(), self.scope.today)
        raise CelInvalid(
            "unknown_name",
            Text(
                f"{'.'.join(path)} is not known here; expected record.<field>, codes.<list> or today",
                f"không biết {'.'.join(path)}; cần record.<trường>, codes.<danh mục> hoặc today",
            ),
        )

    # operators; each takes the children of its rule in the grammar

    def literal(self, children: list[Any]) -> Typed:
        value = literal(str(children[0]), children[0].type)
        if value is None:
            raise CelInvalid("null", Text("only a field can be compared with null", "chỉ so sánh được trường với null"))
        dtype = {bool: BOOL, int: INT, float: DOUBLE, str: STRING}[type(value)]
        if dtype == INT and not -(2**63) <= value < 2**63:
            raise CelInvalid("range", Text("a number is out of range", "số vượt khoảng cho phép"))
        return Typed(pl.lit(value, dtype=dtype), dtype, value)

    def list_lit(self, children: list[Any]) -> Typed:
        items = [self.value(child) for child in _arguments(children)]
        if any(item.constant is None for item in items) or not items:
            raise NotByColumns
        if len({str(item.dtype) for item in items}) != 1:
            raise CelInvalid("type", Text("a list holds values of one type", "danh sách chỉ chứa giá trị cùng kiểu"))
        values = [item.constant for item in items]
        dtype = items[0].dtype
        return Typed(pl.lit(pl.Series(values, dtype=dtype).implode()), pl.List(dtype), values)

    def expr(self, children: list[Any]) -> Typed:
        condition, yes, no = (self.value(child) for child in children)
        _same(condition.dtype, BOOL, "?:")
        _same(yes.dtype, no.dtype, "?:")
        chosen = pl.when(condition.expr).then(yes.expr).otherwise(no.expr)
        return Typed(pl.when(condition.expr.is_not_null()).then(chosen), yes.dtype)

    def conditionalor(self, children: list[Any]) -> Typed:
        left, right = self._both(children, "||")
        return Typed(left.expr | right.expr, BOOL)

    def conditionaland(self, children: list[Any]) -> Typed:
        left, right = self._both(children, "&&")
        return Typed(left.expr & right.expr, BOOL)

    def _both(self, children: list[Any], operator: str) -> tuple[Typed, Typed]:
        left, right = (self.value(child) for child in children)
        _same(left.dtype, BOOL, operator)
        _same(right.dtype, BOOL, operator)
        return left, right

    def relation(self, children: list[Any]) -> Typed:
        operator = children[0].data
        left, right = self.value(children[0].children[0]), self.value(children[1])
        if operator == "relation_in":
            return _is_in(left, right)
        _same(left.dtype, right.dtype, _SIGNS[operator])
        ordered = operator not in ("relation_eq", "relation_ne")
        if isinstance(left.dtype, pl.List | pl.Struct) or (ordered and left.dtype == BOOL):
            raise CelInvalid(
                "type",
                Text(
                    f"{named(left.dtype)} can't be compared by {_SIGNS[operator]}",
                    f"không so sánh được kiểu {named(left.dtype)}",
                ),
            )
        answer = _COMPARE[operator](left.expr, right.expr)
        if left.dtype == DOUBLE:  # to Polars what is not a number equals itself and is the greatest; not to CEL
            nan = left.expr.is_nan() | right.expr.is_nan()
            answer = answer | nan if operator == "relation_ne" else answer & ~nan
        return Typed(answer, BOOL)

    def addition(self, children: list[Any]) -> Typed:
        left, right = self.value(children[0].children[0]), self.value(children[1])
        minus = children[0].data == "addition_sub"
        _same(left.dtype, right.dtype, "-" if minus else "+")
        if left.dtype == STRING and not minus:
            return Typed(left.expr + right.expr, STRING)
        return _arithmetic(left, right, "-" if minus else "+")

    def multiplication(self, children: list[Any]) -> Typed:
        left, right = self.value(children[0].children[0]), self.value(children[1])
        sign = {"mul": "*", "div": "/", "mod": "%"}[children[0].data.removeprefix("multiplication_")]
        _same(left.dtype, right.dtype, sign)
        return _arithmetic(left, right, sign)

    def unary(self, children: list[Any]) -> Typed:
        value = self.value(children[1])
        if children[0].data == "unary_not":
            _same(value.dtype, BOOL, "!")
            return Typed(~value.expr, BOOL)
        if value.dtype not in (INT, DOUBLE):
            raise CelInvalid("type", Text("only numbers have a sign", "chỉ số mới có dấu"))
        return _arithmetic(Typed(pl.lit(0, dtype=value.dtype), value.dtype), value, "-")

    # calls

    def ident_arg(self, children: list[Any]) -> Typed:
        return self._call(str(children[0]), _arguments(children[1:]))

    def member_dot_arg(self, children: list[Any]) -> Typed:
        arguments = _arguments(children[2:])
        if str(children[1]) in ("all", "exists"):
            return self._macro(str(children[1]), children[0], arguments)
        return self._call(str(children[1]), [children[0], *arguments])

    def _call(self, name: str, arguments: list[Tree]) -> Typed:
        if name == "has":
            path = path_of(arguments[0]) if len(arguments) == 1 else None
            if path is None or len(path) < 2:
                raise CelInvalid("has", Text("has() asks for one field", "has() hỏi một trường"))
            return Typed(self.named_value(path).expr.is_not_null(), BOOL)
        function = functions.COLUMNS.get(name)
        if function is None:
            if name in functions.ROW_ONLY:
                raise NotByColumns
            raise CelInvalid("unknown_function", Text(f"there is no function {name}", f"không có hàm {name}"))
        return function([self.value(argument) for argument in arguments])

    def _macro(self, name: str, over: Tree, arguments: list[Tree]) -> Typed:
        items = self.value(over)
        variable = path_of(arguments[0]) if len(arguments) == 2 else None
        if not isinstance(items.dtype, pl.List) or variable is None or len(variable) != 1 or self.variable is not None:
            raise NotByColumns
        inner = _Compiler(self.scope, (variable[0], inner_type(items.dtype))).value(arguments[1])
        _same(inner.dtype, BOOL, name)
        answers = items.expr.list.eval(inner.expr)
        decisive = name == "exists"
        unknown = answers.list.eval(pl.element().is_null()).list.any()
        return Typed(
            pl.when(items.expr.is_null())
            .then(None)
            .when(answers.list.contains(decisive))
            .then(decisive)
            .when(unknown)
            .then(None)
            .otherwise(not decisive),
            BOOL,
        )


_SIGNS = {
    "relation_eq": "==",
    "relation_ne": "!=",
    "relation_lt": "<",
    "relation_le": "<=",
    "relation_gt": ">",
    "relation_ge": ">=",
}
_COMPARE: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "relation_eq": lambda a, b: a == b,
    "relation_ne": lambda a, b: a != b,
    "relation_lt": lambda a, b: a < b,
    "relation_le": lambda a, b: a <= b,
    "relation_gt": lambda a, b: a > b,
    "relation_ge": lambda a, b: a >= b,
}


def _below(value: Typed, path: list[str] | tuple[str, ...], above: str) -> Typed:
    for name in path:
        inner = pl.Schema(value.dtype.to_schema()) if isinstance(value.dtype, pl.Struct) else pl.Schema()
        if name not in inner:
            raise _no_field([above, name])
        value = Typed(value.expr.struct.field(name), inner[name])
        above = f"{above}.{name}"
    if value.dtype in (pl.Int32(), pl.Float32()):
        wide = INT if value.dtype == pl.Int32() else DOUBLE
        return Typed(value.expr.cast(wide), wide)
    return value


def _arguments(children: list[Any]) -> list[Tree]:
    """What stands between the parentheses; the grammar leaves an empty list out, or puts None."""
    return children[0].children if children and children[0] is not None else []


def inner_type(dtype: pl.DataType) -> pl.DataType:
    """Of a list."""
    assert isinstance(dtype, pl.List)
    assert isinstance(dtype.inner, pl.DataType)
    return dtype.inner


def _no_field(path: list[str] | tuple[str, ...]) -> CelInvalid:
    name = ".".join(path)
    return CelInvalid("unknown_field", Text(f"the record has no field {name}", f"bản ghi không có trường {name}"))


def _same(found: pl.DataType, expected: pl.DataType, operator: str) -> None:
    if found != expected:
        raise CelInvalid(
            "type",
            Text(
                f"{operator} is between values of one type, found {named(found)} and {named(expected)}",
                f"{operator} cần hai giá trị cùng kiểu, nhưng gặp {named(found)} và {named(expected)}",
            ),
        )


def _is_in(item: Typed, items: Typed) -> Typed:
    if not isinstance(items.dtype, pl.List):
        raise CelInvalid("type", Text("`in` wants a list on its right", "`in` cần một danh sách ở bên phải"))
    inner = inner_type(items.dtype)
    if items.constant is not None:
        _same(item.dtype, inner, "in")
        return Typed(item.expr.is_in(pl.Series(items.constant, dtype=inner).implode()), BOOL)
    # A list in the record may hold nulls, for which CEL has no answer of its own here: row by row.
    raise NotByColumns


def _arithmetic(left: Typed, right: Typed, sign: str) -> Typed:
    if left.dtype == DOUBLE:
        if sign == "%":
            raise CelInvalid("type", Text("% is for whole numbers", "% chỉ dùng cho số nguyên"))
        if sign == "/":
            return Typed(pl.when(right.expr != 0).then(left.expr / right.expr), DOUBLE)
        return Typed(
            {"+": left.expr + right.expr, "-": left.expr - right.expr, "*": left.expr * right.expr}[sign], DOUBLE
        )
    if left.dtype != INT:
        raise CelInvalid("type", Text(f"{sign} is for numbers", f"{sign} chỉ dùng cho số"))
    # In 128 bits, so that an overflow is "no answer" as in CEL and not another number.
    a, b = left.expr.cast(pl.Int128), right.expr.cast(pl.Int128)
    if sign in "+-*":
        return Typed({"+": a + b, "-": a - b, "*": a * b}[sign].cast(INT, strict=False), INT)
    # CEL cuts towards zero, Polars floors. Each mention of an operand repeats all of its expression, so they are few.
    if isinstance(right.constant, int) and right.constant > 0:
        cut = a.abs() // b if sign == "/" else a.abs() % b
        return Typed((cut * a.sign()).cast(INT, strict=False), INT)
    zero = pl.lit(0, dtype=pl.Int128)
    divisor = pl.when(b != 0).then(pl.when(b < 0).then(zero - b).otherwise(b))
    positive = pl.when(a < 0).then(zero - a).otherwise(a) // divisor
    quotient = pl.when((a < 0) == (b < 0)).then(positive).otherwise(zero - positive)
    return Typed((quotient if sign == "/" else a - quotient * b).cast(INT, strict=False), INT)
