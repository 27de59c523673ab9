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
    replaced: str = ""
    """How many places differ, of ``{0}`` and ``{1}`` of one length; empty where the dialect does not know it."""

    def key(self, *parts: str) -> str:
        """A blocking key of one or more expressions; NULL when one of them is."""
        text = " || '|' || ".join(parts)
        return self.hashed.format(text)

    def near(self, one: str, other: str, most: int) -> str:
        """Whether at most so many letters must be added, dropped or replaced."""
        apart = self.edits.format(one, other)
        return f"(abs(length({one}) - length({other})) <= {most} AND {apart} <= {most})"

    def one_off(self, one: str, other: str) -> str:
        """The same for one letter or digit, quicker for texts that are mostly of one length: there, one edit is one
        replaced. (Both count in bytes.)"""
        near = self.near(one, other, 1)
        if not self.replaced:
            return near
        replaced = self.replaced.format(one, other)
        return f"CASE WHEN strlen({one}) = strlen({other}) THEN {replaced} <= 1 ELSE {near} END"


DUCKDB = Dialect(
    "duckdb",
    "CASE WHEN {0} IS NOT NULL THEN CAST(hash({0}) >> 1 AS BIGINT) END",
    "levenshtein({0}, {1})",
    "hamming({0}, {1})",
)
ATHENA = Dialect(
    "athena",
    "bitwise_and(from_big_endian_64(xxhash64(to_utf8({0}))), 9223372036854775807)",
    "levenshtein_distance({0}, {1})",
)
