"""Answers of DuckDB as arrays."""

from __future__ import annotations

from typing import Any


def columns(answer: Any) -> dict[str, Any]:
    """The rest of a DuckDB answer as numpy arrays by column, read once.

    ``answer`` is what ``execute`` gave. It is untyped because DuckDB's stubs name a class of pandas here, which is not
    installed with the functions: type checks would depend on what else is installed.
    """
    return answer.fetchnumpy()
