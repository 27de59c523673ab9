"""Structured logs by Powertools: one JSON line per entry, never a customer's data in it (security S14)."""

from __future__ import annotations

from functools import cache

from aws_lambda_powertools import Logger


@cache
def logger(service: str) -> Logger:
    """The logger of a capability. Give it codes, counts and hashed ids only."""
    return Logger(service=f"hoso-{service}", use_rfc3339=True)
