"""The two dialects of the matcher's SQL: DuckDB here and in Lambda, Athena where the records outgrow one Lambda."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the dialects write differently."""

    name: str
    hashed: str
    """A text to a whole number above zero, with the text at ``{0}``."""
    edits: str
    """Levenshtein distance of ``{0}`` and ``{1}``."""

    def key(self, *parts: str) -> str:
        """A blocking key of one or more expressions; NULL when one of them is."""
        text = " || '|' || ".join(parts)
        return self.hashed.format(text)

    def distance(self, one: str, other: str) -> str:
        """How many letters to add, drop or replace."""
        return self.edits.format(one, other)


DUCKDB = Dialect("duckdb", "CASE WHEN {0} IS NOT NULL THEN CAST(hash({0}) >> 1 AS BIGINT) END", "levenshtein({0}, {1})")
ATHENA = Dialect(
    "athena",
    "bitwise_and(from_big_endian_64(xxhash64(to_utf8({0}))), 9223372036854775807)",
    "levenshtein_distance({0}, {1})",
)
