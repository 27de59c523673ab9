"""Sources by webhook: one file per sender, each a ``HookKind``; nothing else in the tree knows the sender.

How a delivery goes: ``reception.py``. How to write a new one: ``docs/sources.md``.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from hoso.collect.sources.contract import HookKind

KINDS: dict[str, str] = {
    "call_centre": "call_centre",
    "chatbot": "chatbot",
    "crm": "crm",
    "google_leads": "google_leads",
    "hubspot": "hubspot",
    "mailchimp": "mailchimp",
    "marketo": "marketo",
    "messenger": "meta",
    "meta_leads": "meta",
    "presence": "presence",
    "salesforce": "salesforce",
    "ses": "ses",
    "shopify": "shopify",
    "vnpay": "vnpay",
    "webhook": "webhook",
    "zalo_oa": "zalo_oa",
    "zalopay": "zalopay",
}
"""The module of each kind. Modules are loaded at the first delivery: a warm function knows only what it takes."""


@cache
def kind_of(name: str) -> HookKind | None:
    """The kind of this name, or None."""
    module = KINDS.get(name)
    if module is None:
        return None
    loaded = import_module(f"hoso.collect.sources.{module}")
    return next(kind for kind in loaded.SOURCES if kind.name == name)
