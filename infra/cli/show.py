"""One way to print: a table for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

console = Console()
errors = Console(stderr=True)


# JSON may hold these, but programs that cut text into lines by Unicode's rules would cut a row there
_LINE_ENDS = {ord(mark): f"\\u{ord(mark):04x}" for mark in "\u0085\u2028\u2029"}


def line(item: Any) -> str:
    """One item as a line of NDJSON."""
    return json.dumps(item, ensure_ascii=False).translate(_LINE_ENDS)


def rows(items: Iterable[dict[str, Any]], columns: Sequence[str], *, as_json: bool, title: str = "") -> int:
    """Print items as a table with these columns, or as NDJSON. Answers how many there were."""
    count = 0
    if as_json:
        for item in items:
            print(line(item))
            count += 1
        return count
    table = Table(title=title or None, title_justify="left")
    for column in columns:
        # an id that is cut short cannot be copied
        table.add_column(column, no_wrap=column in ("id", "key"), min_width=_width(column), overflow="fold")
    for item in items:
        table.add_row(*[_cell(item.get(column)) for column in columns])
        count += 1
    console.print(table if count else f"[dim]nothing{' in ' + title if title else ''}[/dim]")
    return count


def value(content: Any) -> None:
    """Print one JSON value."""
    print(json.dumps(content, ensure_ascii=False, indent=1))


def _width(column: str) -> int | None:
    return 34 if column == "id" else None


def _cell(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, (dict, list)):
        return json.dumps(content, ensure_ascii=False)
    return str(content)
