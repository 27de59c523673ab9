"""``hoso match`` on files."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hoso.unify.likeness.unasked import AUTO
from infra.cli.connection import CommandError
from infra.cli.main import app
from tests.likeness_people import people
from tests.likeness_world import scores

RUNNER = CliRunner()


def written(file: Path, rows: list[list[str]]) -> Path:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    data = text.getvalue().encode()
    file.write_bytes(gzip.compress(data) if file.suffix == ".gz" else data)
    return file


@pytest.mark.parametrize("name", ["records.csv", "records.csv.gz"])
def test_every_record_gets_a_cluster(tmp_path: Path, name: str) -> None:
    rows, truth = people(21, 1_200)
    out = tmp_path / "clusters.csv"

    done = RUNNER.invoke(app, ["match", str(written(tmp_path / name, rows)), "--out", str(out), "--json"])

    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    header, *found = list(csv.reader(out.open()))
    assert header == ["record_id", "cluster_id"]
    assert [row[0] for row in found] == [row[0] for row in rows[1:]]
    assert scores(truth, [row[1] for row in found]).f1 > 0.8
    assert (summary["records"], summary["clusters"]) == (1_200, len({row[1] for row in found}))


def test_a_higher_threshold_links_less(tmp_path: Path) -> None:
    file = written(tmp_path / "r.csv", people(22, 900)[0])
    linked = [
        json.loads(RUNNER.invoke(app, ["match", str(file), "--out", str(tmp_path / "c"), "--json", *more]).stdout)
        for more in ([], ["--threshold", str(AUTO)])
    ]
    assert linked[1]["pairs_linked"] == linked[1]["pairs_auto"] < linked[0]["pairs_linked"]


def test_a_pair_is_explained_without_its_values(tmp_path: Path) -> None:
    rows, truth = people(23, 900)
    one = next(place for place in range(900) if truth.count(truth[place]) > 1 and rows[place + 1][5])
    other = truth.index(truth[one], one + 1)
    file = written(tmp_path / "r.csv", rows)

    done = RUNNER.invoke(app, ["match", str(file), "--explain", rows[one + 1][0], rows[other + 1][0]])

    assert done.exit_code == 0, done.output
    assert "bits" in done.stdout
    assert "probability" in done.stdout
    assert rows[one + 1][5] not in done.stdout


def test_who_may_be_father_or_son_is_linked_to_neither_without_asking(tmp_path: Path) -> None:
    # given: two of one name, one home and one phone, born apart, and a record that does not say when
    rows, _ = people(23, 900)
    place = {name: number for number, name in enumerate(rows[0])}
    for name, born in (("father", "1951-03-17"), ("son", "1984-11-26"), ("either", "")):
        row = [""] * len(rows[0])
        said = {
            "record_id": name,
            "first_name": "Ngọc Ánh",
            "last_name": "Tôn Thất",
            "phone": "0987001234",
            "dob": born,
        }
        for column, value in {**said, "address": "71/4 Bà Huyện", "district": "Quận 3"}.items():
            row[place[column]] = value
        rows.append(row)
    file, out = written(tmp_path / "r.csv", rows), tmp_path / "c.csv"

    done = RUNNER.invoke(
        app, ["match", str(file), "--explain", "either", "son", "--out", str(out), "--threshold", str(AUTO)]
    )

    assert done.exit_code == 0, done.output
    shown = " ".join(done.stdout.split())
    assert "for a person to decide" in shown
    assert "not linked without asking: the birth dates of those that either may be contradict" in shown
    found = dict(csv.reader(out.open()))
    assert len({found[name] for name in ("father", "son", "either")}) == 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("name,email\na,b\n", "no column record_id"),
        ("record_id,source\n1,crm\n", "no column to match by"),
        ("record_id,email\n", "has no records"),
        ("record_id,email\n1,a@b.vn\n1,c@d.vn\n", "more than once"),
    ],
)
def test_a_file_that_cannot_be_matched_says_why(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(content)
    done = RUNNER.invoke(app, ["match", str(file), "--out", str(tmp_path / "c.csv")])
    assert isinstance(done.exception, CommandError)
    assert said in str(done.exception)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("r.csv", b"record_id,name\n1,\xd4ng\n2,An\n", "is not UTF-8"),
        ("r.csv", "record_id,name\n1,An\n".encode("utf-16"), "is not UTF-8"),
        ("r.csv", b"record_id,name\n1," + b"x" * 200_000 + b"\n", "cannot be read as CSV"),
        ("r.csv", b"record_id,email\n,a@b.vn\n,c@d.vn\n", "more than once"),
        ("r.csv.gz", gzip.compress(b"record_id,email\n1,a@b.vn\n2,c@d.vn\n", mtime=0)[:30], "cannot be read as CSV"),
        ("r.csv.gz", b"\x1f\x8bno", "cannot be read as CSV"),
    ],
)
def test_a_file_that_cannot_be_read_says_why_in_a_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    csv.field_size_limit(10**6)  # another command's limit, in the same process
    done = RUNNER.invoke(app, ["match", str(file), "--out", str(tmp_path / "c.csv")])
    assert done.exit_code != 0
    assert isinstance(done.exception, CommandError)
    assert said in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (tmp_path / "c.csv").exists()


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ('1,"An\n2,b\n3,c\n', 2),
        ('1,a\n2,"Bình\n3,"Chi"\n', 3),
        ('1,a\n2,"Bình, phường ""3""\n\n5,e\n', 3),
        ('"1","a\nb""\n",\n2,a "quoted" word\n3,"x\ny","open\n4,d\n', 7),
        ('1,"An" Nguyen\n2,b\n', 2),
        ('1,"' + "x" * 200_000 + "\n2,b\n", 2),
    ],
)
def test_a_quote_that_is_not_closed_swallows_no_rows_and_its_line_is_named(
    tmp_path: Path, rows: str, line: int
) -> None:
    file = tmp_path / "r.csv"
    file.write_text("record_id,first_name\n" + rows)
    done = RUNNER.invoke(app, ["match", str(file), "--out", str(tmp_path / "c.csv")])
    assert isinstance(done.exception, CommandError)
    assert str(done.exception).startswith(f"line {line}: the quote")
    assert not (tmp_path / "c.csv").exists()


def test_quoted_values_may_hold_lines_delimiters_and_quotes(tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_text('record_id,first_name\n1,"An\nb, ""x"""\n2,5" a"b\n3,""\n')
    done = RUNNER.invoke(app, ["match", str(file), "--out", str(tmp_path / "c.csv"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["records"] == 3


def test_ragged_and_foreign_rows_do_no_harm(tmp_path: Path) -> None:
    rows = [
        ["record_id", "first_name", "email"],
        ["1", "An"],
        ["2"],
        [],
        ["3", "\u0000\ud7ff😀\tx\"'", "x@y.vn", "more"],
    ]
    file = written(tmp_path / "r.csv", rows)
    done = RUNNER.invoke(app, ["match", str(file), "--out", str(tmp_path / "c.csv"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["records"] == 3
