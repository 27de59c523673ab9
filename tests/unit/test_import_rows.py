"""Files as they come: encodings, delimiters, damage. Every row or its problem, with the line where it begins."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoso.collect.imports.pieces import MAX_ROWS, cut, map_piece, open_rows
from hoso.collect.imports.rows import Row, format_of, parquet_rows, text_rows
from hoso.collect.imports.text import MAX_LINE
from hoso.model.errors import InvalidInput

TEXT = 'id;name\n1;Nguyễn Ánh\n2;"hai\ndòng; ""x"""\n3;Đỗ\n'
PARSED = [(2, "Nguyễn Ánh"), (3, 'hai\ndòng; "x"'), (5, "Đỗ")]


def rows(content: bytes, form: str = "csv", step: int = 7) -> list[Row]:
    return list(text_rows((content[at : at + step] for at in range(0, len(content), step)), form))


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        TEXT.encode("utf-16-le"),
        TEXT.replace("\n", "\r\n").replace("hai\r\n", "hai\n").encode(),
        gzip.compress(TEXT.encode(), mtime=0),
        gzip.compress(TEXT[:20].encode(), mtime=0) + gzip.compress(TEXT[20:].encode(), mtime=0),
        TEXT.replace(";", "\t").replace("dòng\t", "dòng;").encode(),
        b"sep=;\n" + TEXT.encode(),
    ],
)
def test_a_text_is_read_whatever_its_encoding_and_delimiter(content: bytes) -> None:
    shift = content.startswith(b"sep=")
    found = [(row.line - shift, row.data and row.data["name"]) for row in rows(content)]
    assert found == PARSED


def test_windows_1258_is_detected_and_composed() -> None:
    # the code page has the letters and, apart, the tones
    apart = "Trâ\u0300n Thi\u0323 Bươ\u0309i"
    (found,) = rows(f"name,x\n{apart},1\n".encode("cp1258"))
    assert found.data == {"name": "Trần Thị Bưởi", "x": "1"}


def test_ragged_rows_are_refused_with_their_line_and_text() -> None:
    found = rows(b"a,b\n1\n1,2,3\n1,2,,\n1,2\n\n")
    assert [(row.line, row.code, row.text) for row in found] == [
        (2, "ragged_row", "1"),
        (3, "ragged_row", "1,2,3"),
        (4, "", ""),
        (5, "", ""),
    ]


def test_a_broken_quote_costs_its_row_and_bytes_of_another_encoding_theirs() -> None:
    found = rows(b'a,b\n"x"y,2\n3,4\n')
    assert [(row.line, row.code) for row in found] == [(2, "bad_csv"), (3, "")]
    late = rows(b"a,b\n" + b"1,2\n" * 30_000 + b"\xff\xfe,2\n3,4\n", step=5_000)
    assert [(row.line, row.code) for row in late[-2:]] == [(30_002, "bad_encoding"), (30_003, "")]


def test_a_truncated_gzip_gives_what_is_there_and_says_so() -> None:
    text = "a,b\n" + "".join(f"{number},{number * 7919 % 1000}\n" for number in range(5_000))
    packed = gzip.compress(text.encode(), mtime=0)
    found = rows(packed[: len(packed) // 2], step=1_000)
    assert found[-1].code == "file_truncated"
    assert 1_000 < len(found) < 5_000
    assert all(row.data == {"a": str(number), "b": str(number * 7919 % 1000)} for number, row in enumerate(found[:-1]))


def test_an_endless_line_is_cut_off_and_the_next_ones_are_read() -> None:
    content = b'{"a":1}\n{"a":"' + b"x" * (MAX_LINE + 10) + b'"}\n{"a":3}\n'
    assert [(row.line, row.code) for row in rows(content, "ndjson", 100_000)] == [
        (1, ""),
        (2, "line_too_long"),
        (3, ""),
    ]


def test_lines_that_are_no_objects_are_refused_one_by_one() -> None:
    found = rows(b'\xef\xbb\xbf{"a":1}\n[1]\nx\n\n{"a":"\\ud800"}\n', "ndjson")
    assert [(row.line, row.code) for row in found] == [
        (1, ""),
        (2, "invalid_json"),
        (3, "invalid_json"),
        (5, "invalid_json"),
    ]


@pytest.mark.parametrize(("content", "code"), [(b"", "no_header"), (b"a,a\n1,2\n", "duplicate_column")])
def test_a_file_without_sound_columns_is_refused_as_a_whole(content: bytes, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        rows(content)
    assert refused.value.code == code


def test_formats_by_name() -> None:
    assert [format_of(name) for name in ("a.CSV", "a.tsv.gz", "a.jsonl", "a.parquet", "a.xlsx")] == [
        "csv",
        "csv",
        "ndjson",
        "parquet",
        None,
    ]


def test_parquet_rows_keep_text_decimals_and_times(tmp_path: Path) -> None:
    import duckdb

    file = tmp_path / "x.parquet"
    select = "SELECT 'Đỗ' AS name, 1.10::DECIMAL(9,2) AS price, TIMESTAMP '2026-01-05 07:00:00' AS at, [1, 2] AS list"
    duckdb.sql(select).write_parquet(str(file))
    assert [(row.line, row.data) for row in parquet_rows(file)] == [
        (1, {"name": "Đỗ", "price": "1.10", "at": "2026-01-05T07:00:00", "list": [1, 2]})
    ]
    file.write_bytes(b"PAR1 no")
    with pytest.raises(InvalidInput):
        list(parquet_rows(file))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=8), min_size=2, max_size=2), max_size=12
    ),
    st.integers(1, 40),
)
def test_what_a_csv_writer_writes_is_read_back(cells: list[list[str]], step: int) -> None:
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["a", "b"])
    kept = [row for row in ([cell.replace("\r", " ").replace("\0", "") for cell in row] for row in cells) if any(row)]
    writer.writerows(kept)
    found = list(text_rows(iter([out.getvalue().encode()]), "csv"))
    assert [list((row.data or {}).values()) for row in found] == kept


def receipts() -> Iterator[Row]:
    for number in range(MAX_ROWS + 10):
        shop = {"receipt_id": f"R{number // 7}", "store_id": "1", "occurred_at": "05/01/2026"}
        yield Row(number + 2, {**shop, "line_no": number, "qty": 1, "unit_price": 1_000})


def test_pieces_end_where_a_receipt_ends_and_lose_no_row() -> None:
    opened = open_rows(receipts(), None, "till")
    pieces = list(cut(opened.rows, opened.layout.group_of))
    mapped = [map_piece(piece, opened.layout) for _, piece in pieces]
    assert sum(count for count, _ in pieces) == MAX_ROWS + 10
    assert len(pieces) == 2
    orders = [event["properties"]["order_id"] for part in mapped for event in part.events]
    assert len(orders) == len(set(orders)) == -(-(MAX_ROWS + 10) // 7)
    assert [bad for part in mapped for bad in part.bad] == []


def test_a_receipt_that_comes_back_later_is_refused() -> None:
    told = [("R1", 2), ("R2", 3), ("R1", 4), ("R1", 5), ("R3", 6)]
    shop = {"store_id": "1", "occurred_at": "05/01/2026", "unit_price": "5"}
    opened = open_rows(iter([Row(line, {"receipt_id": receipt, **shop}) for receipt, line in told]), None, "till")
    ((_, piece),) = cut(opened.rows, opened.layout.group_of)
    found = map_piece(piece, opened.layout)
    assert [(line, code) for line, code, _, _ in found.bad] == [(4, "split_receipt"), (5, "split_receipt")]
    assert len(found.events) == 3
