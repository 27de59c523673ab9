"""The files of an import, under ``importing/<workspace>/<id>/``; the id is a function of what is imported.

``import.json`` says what it is, ``piece/<n>.ndjson.zst`` holds its rows, ``result/<n>.json`` what became of a piece
(the checkpoint: a piece with a result is done), ``pieces.json`` the items of the map, ``report.json`` the end.
Beside them ``~newest/<falling time>-<id>`` is the list, newest first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import orjson
import zstandard

from hoso.collect.imports.pieces import MAX_PIECE_BYTES
from hoso.model.errors import InvalidInput, NotFound
from hoso.platform.ids import content_id
from hoso.platform.objects import Objects

_JSON = "application/json"
_ROOT = "importing"
_NEWEST = "~newest/"
_FAR = 9_999_999_999_999

Json = dict[str, Any]


def import_id(workspace: str, source: str, digest: str, mapping: Json | None) -> str:
    """The id of an import: the same file for the same source, mapped the same way, is the same import."""
    told = orjson.dumps(mapping, option=orjson.OPT_SORT_KEYS).decode()
    return content_id(workspace, source, digest, told).replace("-", "A").replace("_", "B")


class Imports:
    """The imports of one workspace."""

    def __init__(self, objects: Objects, workspace: str) -> None:
        self._objects = objects
        self._root = f"{_ROOT}/{quote(workspace, safe='')}"

    def create(self, record: Json) -> Json:
        """Store a new import; one that is known already is answered as it is, with its own time."""
        made = self._objects.put_once(self._key(record["id"], "import.json"), orjson.dumps(record), _JSON)
        held = record if made else self.load(record["id"])
        self._objects.put(self._newest(held), b"{}", _JSON)
        return held

    def load(self, name: str) -> Json:
        """What an import is. Raises ``NotFound``."""
        return self._read(name, "import.json")

    def update(self, record: Json) -> None:
        """Store it again, with what became known: columns, numbers of pieces and rows."""
        self._objects.put(self._key(record["id"], "import.json"), orjson.dumps(record), _JSON)

    def newest(self, after: str = "") -> Iterator[tuple[str, str]]:
        """Place and id of all imports, newest first; those behind a place."""
        prefix = f"{self._root}/{_NEWEST}"
        for key in self._objects.keys(prefix, prefix + after if after else ""):
            place = key.removeprefix(prefix)
            yield place, place.partition("-")[2]

    def _newest(self, record: Json) -> str:
        """An empty object whose name sorts newer imports before older ones."""
        return f"{self._root}/{_NEWEST}{_FAR - record['at']:013d}-{quote(record['id'], safe='')}"

    def put_piece(self, name: str, number: int, packed: bytes) -> None:
        """Store a piece, packed by ``pack``."""
        self._objects.put(self._key(name, f"piece/{number:06d}.ndjson.zst"), packed, "application/zstd")

    def piece(self, name: str, number: int) -> bytes:
        """The rows of a piece. Raises ``NotFound``, ``InvalidInput`` for bytes that are none."""
        return unpack(self._objects.get(self._key(name, f"piece/{number:06d}.ndjson.zst")))

    def pieces(self, name: str) -> list[int]:
        """Numbers of the pieces that are here."""
        return self._numbers(name, "piece/")

    def put_result(self, name: str, number: int, result: Json) -> None:
        """Store what became of a piece."""
        self._objects.put(self._key(name, f"result/{number:06d}.json"), orjson.dumps(result), _JSON)

    def result(self, name: str, number: int) -> Json | None:
        """What became of a piece, None while it is not done."""
        try:
            return self._read(name, f"result/{number:06d}.json")
        except NotFound:
            return None

    def results(self, name: str) -> list[int]:
        """Numbers of the pieces that are done."""
        return self._numbers(name, "result/")

    def put_items(self, name: str, count: int) -> str:
        """Store the items of the Distributed Map; answers the key."""
        key = self._key(name, "pieces.json")
        self._objects.put(key, orjson.dumps([{"n": number} for number in range(1, count + 1)]), _JSON)
        return key

    def put_report(self, name: str, report: Json) -> None:
        """Store how an import ended."""
        self._objects.put(self._key(name, "report.json"), orjson.dumps(report), _JSON)

    def report(self, name: str) -> Json | None:
        """How an import ended, None while it has not."""
        try:
            return self._read(name, "report.json")
        except NotFound:
            return None

    def _numbers(self, name: str, folder: str) -> list[int]:
        keys = self._objects.keys(self._key(name, folder))
        return [int(key.rpartition("/")[2].partition(".")[0]) for key in keys]

    def _read(self, name: str, file: str) -> Json:
        try:
            return orjson.loads(self._objects.get(self._key(name, file)))
        except NotFound as error:
            raise NotFound("no such import") from error

    def _key(self, name: str, file: str) -> str:
        return f"{self._root}/{quote(name, safe='')}/{file}"


def pack(piece: bytes) -> bytes:
    """A piece as it is stored and sent."""
    return zstandard.ZstdCompressor(level=3).compress(piece)


def unpack(packed: bytes) -> bytes:
    """The rows of a packed piece. Raises ``InvalidInput`` for other bytes, and for more than ``MAX_PIECE_BYTES``."""
    try:
        made = zstandard.ZstdDecompressor().decompress(packed, max_output_size=MAX_PIECE_BYTES)
    except zstandard.ZstdError as error:
        raise InvalidInput("the piece is no zstd frame, or larger than it may be", code="bad_piece") from error
    if len(made) > MAX_PIECE_BYTES:
        raise InvalidInput("the piece is too large", code="bad_piece")
    return made
