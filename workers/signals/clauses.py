"""Clauses: SQL expressions over signals, told apart from anything else that SQL can do.

A clause is one expression without subqueries, windows or aggregates, over functions that give the
same answer each time. DuckDB runs it with files, network and extensions locked away. A signal that
a sample does not have, as the sharpness of a text, decides nothing: what is unknown stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.errors import RecipeError
from workers.signals.names import SIGNALS, Signal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Bools = npt.NDArray[np.bool_]
Signals = Mapping[str, Signal]

_LOCKED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "threads": "2",
    "memory_limit": "1GB",
}
_REFUSED = ("SUBQUERY", "WINDOW", "STAR", "PARAMETER", "DEFAULT")
_WHOLE = ("from_table", "where_clause", "having", "sample", "qualify")


def used_signals(clause: str, known: Signals = SIGNALS) -> frozenset[str]:
    """The signals that a clause names. Raises ValueError for what is no clause over them."""
    tree = _parsed(clause)
    names: set[str] = set()
    for node in _nodes(tree):
        if node.get("class") in _REFUSED:
            raise ValueError(
                f"{clause!r}: only an expression over signals, no {node['class'].lower()}"
            )
        if node.get("class") == "FUNCTION":
            _check_function(clause, str(node["function_name"]))
        if node.get("class") == "COLUMN_REF":
            names.add(".".join(node["column_names"]).lower())
    if not names:
        raise ValueError(f"{clause!r}: names no signal")
    if unknown := sorted(names - known.keys()):
        there = ", ".join(known)
        raise ValueError(f"{clause!r}: no signal is named {unknown[0]!r}; there are {there}")
    import duckdb

    try:
        with _connected() as connection:
            connection.register("signals", signal_table({name: [] for name in known}, known))
            connection.execute(f"SELECT 1 FROM signals WHERE ({clause}\n)")
    except duckdb.Error as error:
        raise ValueError(f"{clause!r}: {_first_line(error)}") from error
    return frozenset(names)


def fails(signals: pa.Table, clauses: Sequence[str]) -> list[Bools]:
    """For each clause [rows] where it is false; `signals` has the columns that they name.

    Raises RecipeError for a clause that fails on a value, as a cast of a text to a number.
    """
    if not clauses or not len(signals):
        return [np.zeros(len(signals), np.bool_) for _ in clauses]
    columns = ", ".join(
        f"coalesce(NOT ({clause}\n), false) AS c{number}" for number, clause in enumerate(clauses)
    )
    import duckdb

    with _connected() as connection:
        connection.register("signals", signals)
        try:
            found: Any = connection.sql(f"SELECT {columns} FROM signals").to_arrow_table()
        except duckdb.Error as error:
            raise RecipeError(f"select.where: {_first_line(error)}") from error
    return [np.asarray(found.column(number).to_numpy(), np.bool_) for number in range(len(clauses))]


def _parsed(clause: str) -> Mapping[str, Any]:
    """The only expression of a clause."""
    with _connected() as connection:
        query = f"SELECT ({clause}\n)"
        row = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
    assert row is not None
    told = json.loads(row[0])
    if told["error"]:
        raise ValueError(f"{clause!r}: {told.get('error_message', 'no SQL')}")
    if len(told["statements"]) != 1:
        raise ValueError(f"{clause!r}: several statements")
    node = told["statements"][0]["node"]
    more = [name for name in _WHOLE if _is_there(node.get(name))]
    if node["type"] != "SELECT_NODE" or len(node["select_list"]) != 1 or more or node["modifiers"]:
        raise ValueError(f"{clause!r}: a clause is one expression")
    expression: Mapping[str, Any] = node["select_list"][0]
    return expression


def _is_there(part: Any) -> bool:
    return bool(part) and not (isinstance(part, dict) and part.get("type") == "EMPTY")


def _nodes(tree: Any) -> Iterator[Mapping[str, Any]]:
    """Every object of the tree."""
    if isinstance(tree, dict):
        yield tree
        for part in tree.values():
            yield from _nodes(part)
    elif isinstance(tree, list):
        for part in tree:
            yield from _nodes(part)


def _check_function(clause: str, name: str) -> None:
    if name.lower() not in _steady_functions():
        what = "is unknown, or answers otherwise each time"
        raise ValueError(f"{clause!r}: the function {name!r} {what}")


@cache
def _steady_functions() -> frozenset[str]:
    """Scalar functions that give the same answer for the same input, whatever they are given; of
    operators it is enough that they may, as what they do otherwise is for times with a zone.
    """
    with _connected() as connection:
        rows = connection.execute(
            "SELECT function_name, bool_and(coalesce(stability, 'CONSISTENT') = 'CONSISTENT') "
            "FROM duckdb_functions() WHERE function_type = 'scalar' GROUP BY function_name"
        ).fetchall()
    return frozenset(str(name).lower() for name, always in rows if always or not name[0].isalpha())


def _connected() -> DuckDBPyConnection:
    """A database in memory that reads and writes nothing else."""
    import duckdb

    connection = duckdb.connect(config=dict(_LOCKED))
    connection.execute("SET lock_configuration = true")
    return connection


_TYPES = {
    "VARCHAR": pa.string(),
    "VARCHAR[]": pa.list_(pa.string()),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
}


def signal_table(columns: Mapping[str, Any], known: Signals = SIGNALS) -> pa.Table:
    """Columns by name, as clauses see them."""
    arrays = {name: pa.array(values, _TYPES[known[name].kind]) for name, values in columns.items()}
    return pa.table(arrays)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
