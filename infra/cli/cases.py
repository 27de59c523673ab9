"""Files of cases that a command runs: a JSON list of objects, or an object that holds one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from infra.cli.connection import CommandError


def read_cases(file: Path, member: str) -> list[dict[str, Any]]:
    """The objects in a file: a list, a list under ``member``, or one object alone.

    Raises:
        CommandError: the file is not JSON, or holds no objects.
    """
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        raise CommandError(f"{file} is not JSON: {error}") from error
    if isinstance(content, dict):
        held = cast("dict[str, Any]", content)
        content = held.get(member, [held])
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in cast("list[Any]", content)):
        raise CommandError(f"{file} holds no list of {member}")
    return cast("list[dict[str, Any]]", content)
