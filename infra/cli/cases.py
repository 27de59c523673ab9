"""Files of cases that a command runs: a JSON list of objects, or an object that holds one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from infra.cli.connection import CommandError


def read_cases(file: Path, member: str, form: str | None = None) -> list[dict[str, Any]]:
    """The objects in a file: a list, a list under ``member``, or one object alone.

    ``form`` is the one value that ``format`` may have where a file names it.

    Raises:
        CommandError: the file is not JSON, or holds no objects, or is of another form.
    """
    try:
        content = json.loads(file.read_bytes(), parse_constant=_refuse)
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{file} is not JSON: {error}") from error
    if isinstance(content, dict):
        held = cast("dict[str, Any]", content)
        if form is not None and held.get("format", form) != form:
            raise CommandError(f"{file} is not in the format {form}")
        content = held.get(member, [held])
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in cast("list[Any]", content)):
        raise CommandError(f"{file} holds no list of {member}")
    return cast("list[dict[str, Any]]", content)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")
