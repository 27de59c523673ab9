"""Rows of a CSV file to events, against plain ``csv`` and polars reading the same file; peak memory of the process."""

from __future__ import annotations

import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hoso.collect.events import Frame
from hoso.collect.imports.layouts import Layout
from hoso.collect.imports.pieces import cut, map_piece, open_rows
from hoso.collect.imports.rows import text_rows
from hoso.collect.intake import Sender, take
from hoso.collect.parse import parse_batch

ROWS = 100_000
_HEAD = "receipt_id,store_id,occurred_at,line_no,sku,name,qty,unit_price,phone,email,customer_name\n"
_CHUNK = 1 << 20


def measure(rows: int = ROWS) -> dict[str, Any]:
    """Rows per second of each step alone, and of the whole, as multiples of plain reading."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.csv"
        write(file, rows)
        _polars(file)  # loading the library is no reading
        figures = {
            "csv": _rate(lambda: _plain(file), rows),
            "polars": _rate(lambda: _polars(file), rows),
            "read and cut": _rate(lambda: _cut(file), rows),
            "read, cut, map": _rate(lambda: _mapped(file), rows),
            "read, cut, map, intake": _rate(lambda: _taken(file), rows),
        }
        memory = peak_growth_mb(file)
    base = figures["csv"]
    ratios = {f"csv / ({name})": round(base / rate, 1) for name, rate in figures.items() if name != "csv"}
    return {"rows_per_second": figures, "ratios": ratios, "peak_growth_mb": memory, "file_rows": rows}


def write(file: Path, rows: int) -> None:
    """Receipts of two lines each."""
    with file.open("w") as out:
        out.write(_HEAD)
        for number in range(rows):
            receipt = number // 2
            who = f"09{10_000_000 + receipt % 1_000_000},kh{receipt % 1_000_000}@example.vn,Nguyễn Văn {receipt % 97}"
            out.write(f"R{receipt},001,05/01/2026 14:05,{number % 2 + 1},SKU-{number % 500},Áo đầm,1,450.000,{who}\n")


def peak_growth_mb(file: Path) -> float:
    """How much the peak of memory grows between the first piece and the last, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["functions", "."])}
    command = [sys.executable, "-m", __name__, str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return round(int(done.stdout) / 1024, 1)


def _rate(work: Callable[[], object], rows: int) -> int:
    started = time.process_time()
    work()
    return round(rows / (time.process_time() - started))


def _plain(file: Path) -> None:
    with file.open(newline="") as stream:
        for _ in csv.reader(stream):
            pass


def _polars(file: Path) -> None:
    import polars

    polars.read_csv(file, infer_schema=False)


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _pieces(file: Path) -> Iterator[tuple[Layout, bytes]]:
    opened = open_rows(text_rows(_chunks(file), "csv"), None, "till")
    for _, piece in cut(opened.rows, opened.layout.group_of):
        yield opened.layout, piece


def _cut(file: Path) -> None:
    for _ in _pieces(file):
        pass


def _mapped(file: Path) -> None:
    for layout, piece in _pieces(file):
        map_piece(piece, layout)


def _taken(file: Path) -> None:
    import orjson

    for layout, piece in _pieces(file):
        events = map_piece(piece, layout).events
        for first in range(0, len(events), 1_000):
            raw = orjson.dumps({"batch": events[first : first + 1_000]})
            take(raw, parse_batch(raw), Frame(1_800_000_000_000, str), Sender("main", "till"), lambda _, value: value)


def main() -> None:
    """Print by how many KiB the peak grows after the first piece."""
    first = now = 0
    for layout, piece in _pieces(Path(sys.argv[1])):
        map_piece(piece, layout)
        now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        first = first or now
    print(now - first)


if __name__ == "__main__":
    main()
