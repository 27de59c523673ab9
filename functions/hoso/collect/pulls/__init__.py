"""What is fetched from senders on a schedule: bulk files of CRMs, put where files to import are dropped.

A sender is one module with a ``Puller``; its settings stand with the kind of its webhook source.
"""

from __future__ import annotations

from importlib import import_module

from hoso.collect.pulls.contract import Puller

_MODULES = {name: f"hoso.collect.pulls.{name}" for name in ("marketo", "salesforce")}


def puller_of(kind: str) -> Puller | None:
    """How a kind of source is pulled; None for one that is not."""
    module = _MODULES.get(kind)
    return None if module is None else import_module(module).PULLER
