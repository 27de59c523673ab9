"""The twin: AWS on a laptop, from the templates that are deployed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from infra.twin.twin import Twin

__all__ = ["Twin"]


def __getattr__(name: str) -> Any:
    """``Twin``, loaded when it is asked for: parts of this package are used without moto's servers."""
    if name != "Twin":
        raise AttributeError(name)
    from infra.twin.twin import Twin

    return Twin
