"""What the matcher makes of names, mailboxes, phones, dates and addresses."""

from __future__ import annotations

import doctest

import pytest

from hoso.model.errors import InvalidInput
from hoso.unify.likeness import clusters, columns, contacts, explain, names, places, text
from hoso.unify.likeness.columns import read_columns
from hoso.unify.likeness.contacts import birth_date, mailbox, phone, told
from hoso.unify.likeness.names import Roles
from hoso.unify.likeness.normalise import FIELDS, normalised
from hoso.unify.likeness.places import area, city, place, street
from tests.likeness_people import people

COMMON = [("Thị Lan", "Nguyễn"), ("Hùng", "Trần"), ("Minh Anh", "Lê"), ("John", "Smith"), ("Mary", "Brown")] * 20
ROLES = Roles(COMMON)


@pytest.mark.parametrize("module", [clusters, columns, contacts, explain, names, places, text])
def test_examples_in_the_code_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "last", "given", "surname", "middle"),
    [
        ("Thị Lan", "Nguyễn", "lan", "nguyen", ("thi",)),
        ("Lan", "Nguyễn Thị", "lan", "nguyen", ("thi",)),
        ("NGUYEN", "thi lan", "lan", "nguyen", ("thi",)),
        ("Nguyễn Thị Lan", "", "lan", "nguyen", ("thi",)),
        ("Thị Lan Nguyễn", "", "lan", "nguyen", ("thi",)),
        ("Chị Lan", "Nguyễn", "lan", "nguyen", ()),
        ("C.Lan", "Nguyễn", "lan", "nguyen", ()),
        ("Laan", "Nguyeen", "lan", "nguyen", ()),
        ("John D", "Smith", "john", "smith", ("d",)),
        ("JOHN", "SMITH D", "john", "smith", ("d",)),
        ("Smith", "John", "john", "smith", ()),
        ("John D Smith", "", "john", "smith", ("d",)),
        ("Lan", "", "lan", None, ()),
        ("null", "", None, None, ()),
    ],
)
def test_given_name_and_surname_are_found_in_any_field_and_order(
    first: str, last: str, given: str | None, surname: str | None, middle: tuple[str, ...]
) -> None:
    name = ROLES.parse(first, last)
    assert (name.given, name.surname, name.middle) == (given, surname, middle)


@pytest.mark.parametrize(
    ("short", "full"), [("Bob", "Robert"), ("Mike", "Michael"), ("Liz", "Elizabeth"), ("Matt", "Matthew")]
)
def test_nicknames_lead_to_one_name(short: str, full: str) -> None:
    assert ROLES.parse(short, "Smith").root == ROLES.parse(full, "Smith").root


@pytest.mark.parametrize(
    "raw",
    ["0381234567", "01681234567", "+84381234567", "+84 (0)168 123 4567", "84381234567", "1681234567", "0381.234.567"],
)
def test_notations_and_prefixes_of_a_vietnamese_phone_are_one(raw: str) -> None:
    assert phone(raw, "VN") == "0381234567"


@pytest.mark.parametrize("raw", ["2139290629", "+12139290629", "(213) 929-0629", "213-929-0629"])
def test_notations_of_an_american_phone_are_one(raw: str) -> None:
    assert phone(raw, "US") == "2139290629"


@pytest.mark.parametrize("raw", ["0900000000", "0000000000", "0123456789", "-", "n/a", "0999999999", "123"])
def test_filler_phones_are_none(raw: str) -> None:
    assert phone(raw, "VN") is None


@pytest.mark.parametrize(
    "raw", ["null", "n/a", "a@a.com", "none@none.com", "khongco@gmail.com", "noemail@noemail.com", "x@"]
)
def test_filler_addresses_are_none(raw: str) -> None:
    assert mailbox(raw) is None


def test_trap8_what_a_mailbox_says_beside_the_name() -> None:
    assert told("hung.nguyen46", "hung", "nguyen").rest == "46"
    assert told("mark.reed", "mark", "red").rest == ""  # names come without doubled letters
    assert told("lan_cute88", "lan", "le").rest == "cute88"
    # a relative's mailbox says nothing of the middle name
    assert told("tuannguyen", "lan", "nguyen").middle is None


def test_a_mailbox_tells_the_middle_name() -> None:
    rows = list(
        normalised(
            [["1", "Lan", "Nguyễn", "nblan77@gmail.com"]], read_columns(["id", "first_name", "last_name", "email"])
        )
    )
    assert rows[0][FIELDS.index("initials")] == "b"


def test_a_middle_name_that_is_said_goes_before_what_a_mailbox_tells() -> None:
    columns = read_columns(["id", "first_name", "last_name", "email"])
    (row,) = normalised([["1", "Thị Lan", "Nguyễn", "nblan77@gmail.com"]], columns)
    assert row[FIELDS.index("initials")] == "t"


def test_a_row_hangs_on_its_record_alone_wherever_it_stands_in_a_large_file() -> None:
    head, *records = people(7, 1_300, "shifted")[0]
    columns = read_columns(head)
    rows = list(normalised(records, columns))
    assert rows == list(normalised(records[::-1], columns))[::-1]
    assert len(rows) == 1_300 and all(len(row) == len(FIELDS) for row in rows)


def test_short_records_and_whole_addresses_stand_beside_others() -> None:
    columns = read_columns(["id", "name", "address", "ward", "city", "card"])
    rows = list(
        normalised(
            [
                ["1", " Lan Nguyen "],
                ["2", "", "12, Lê Lợi, P.3, Huế", "", "", "A-7"],
                ["3", "", "12\t/4 Lê Lợi", "P.3", "TP.HCM"],
                ["4", "", "n/a", "-", "", "", "more"],
            ],
            columns,
        )
    )
    places = [FIELDS.index(name) for name in ("name", "house", "street", "ward", "city")]
    assert [[*(row[place] for place in places), row[-1]] for row in rows] == [
        ["lan nguyen", "", "", "", "", ""],
        ["", "12", "leloi", "3", "hue", "a7"],
        ["", "12/4", "leloi", "3", "hochiminh", ""],
        ["", "", "", "", "", ""],
    ]


@pytest.mark.parametrize(
    ("raw", "date"),
    [
        ("1994-09-11", "19940911"),
        ("19940911", "19940911"),
        ("11/09/1994", "19940911"),
        ("09/25/1994", "19940925"),
        ("1980-01-01", "19800000"),
        ("1900-01-01", None),
        ("1994", "19940000"),
        ("31", None),
        ("0094-01-02", None),
    ],
)
def test_birth_dates_and_their_placeholders(raw: str, date: str | None) -> None:
    assert birth_date(raw) == date


def test_an_address_in_one_line_is_the_one_in_fields() -> None:
    line = place("279/8B Đường Nguyễn Bỉnh Khiêm, Phường 13, Q. Tân Bình, TP.HCM", "", "", "")
    assert line == place("279/8B Nguyen Binh Khiem", "p13", "Quan Tan Binh", "Sài Gòn")


@pytest.mark.parametrize(
    ("one", "other"), [("Quận 1", "Q1"), ("District 3", "Q.3"), ("P.05", "Phường 5"), ("Ba Đình", "BA DINH")]
)
def test_notations_of_an_area_are_one(one: str, other: str) -> None:
    assert area(one) == area(other)


@pytest.mark.parametrize(
    ("old", "new"), [("Bình Dương", "TP.HCM"), ("Hải Dương", "Hải Phòng"), ("Quảng Nam", "Da Nang"), ("HN", "Hà Nội")]
)
def test_provinces_of_before_july_2025_are_those_of_today(old: str, new: str) -> None:
    assert city(old) == city(new)


def test_streets_without_the_word_for_street() -> None:
    assert street("8 duong tran phu") == street("8 d. tran phu") == ("8", "tranphu")
    assert street("7 pridhamstreet")[1] == street("7 pridham st")[1]


def test_columns_are_known_by_many_names_and_the_truth_is_left_out() -> None:
    found = read_columns(["rec_id", "Given Name", "surname", "soc_sec_id", "entity_id", "Số điện thoại"])
    assert (sorted(found.known), list(found.extras)) == (["first", "id", "last", "phone"], ["socsecid"])


@pytest.mark.parametrize(
    ("header", "code"), [(["email"], "no_record_id"), (["record_id", "source"], "nothing_to_match")]
)
def test_a_file_that_cannot_be_matched_is_refused(header: list[str], code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_columns(header)
    assert refused.value.code == code
