"""``column IN (values)`` with all values in one parameter.

SQLAlchemy's own ``in_`` compiles a statement for each number of values, with a parameter for each:
for hundreds of them that takes longer than the database.

The reasons: docs/decisions/007.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Column, ColumnElement, Dialect, Text, bindparam
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NULLTYPE, TypeDecorator, TypeEngine


class _ListParameter(TypeDecorator[Sequence[Any]]):
    """A list of texts or numbers: JSON for SQLite, which has no arrays."""

    impl = Text
    cache_ok = True

    def __init__(self, element: TypeEngine[Any]) -> None:
        super().__init__()
        self.element = element

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return ARRAY(self.element) if dialect.name == "postgresql" else Text()

    def process_bind_param(self, value: Sequence[Any] | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return orjson.dumps(value).decode()


class _AnyOf(FunctionElement[Any]):
    inherit_cache = True
    # Not Boolean: SQLAlchemy would append "= 1" for SQLite, which then uses no index.
    type: TypeEngine[Any] = NULLTYPE


def any_of(column: Column[Any], name: str) -> ColumnElement[Any]:
    """Return the condition that ``column`` is one of the values bound as ``name``."""
    return _AnyOf(column, bindparam(name, type_=_ListParameter(column.type)))


@compiles(_AnyOf, "sqlite")
def _in_json(element: _AnyOf, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(each, **options) for each in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 (compiled parts)


@compiles(_AnyOf, "postgresql")
def _in_array(element: _AnyOf, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(each, **options) for each in element.clauses)
    return f"{column} = ANY ({values})"
