"""Templates: only placeholders, nothing is run, nothing is escaped from; money and dates as people write them."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hoso.activate.documents import Template
from hoso.activate.money import amount, day, money
from hoso.activate.render import MAX_OUTPUT, check, render
from hoso.model.errors import InvalidInput

HOSTILE_TEMPLATES = [
    "{{ 7*7 }}",
    "{{ ''.__class__.__mro__ }}",
    "{{ __class__ }}",
    "{{ a.__class__ }}",
    "{{ a['b'] }}",
    "{{ a() }}",
    "{{ a|safe }}",
    "{{ a|money:vnd }}",
    "{{ a|date:Nowhere/Land }}",
    "{{ a | attr('x') }}",
    "{{ a",
    "{{ }}",
    "{{ | }}",
    "{{{{ a }}}}",
    "{{ a.b.c.d.e.f.g.h.i.j }}",
    "{{ " + "a" * 100 + " }}",
    "{{ a }}" * 501,
    "x" * 100_001,
]
INERT = ["{% for x in y %}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "{0.__class__}", "%(a)s", "{a}", "}} {", "{ {a} }"]


@pytest.mark.parametrize("template", HOSTILE_TEMPLATES)
def test_s15_what_is_not_a_plain_placeholder_is_refused(template: str) -> None:
    with pytest.raises(InvalidInput):
        check(template)
    with pytest.raises(ValidationError):
        Template(subject="x", html=template)


@pytest.mark.parametrize("template", INERT)
def test_s15_other_template_languages_are_plain_text(template: str) -> None:
    assert render(template, {"a": "no", "y": [1]}) == template


@pytest.mark.parametrize("value", ["{{ secret }}", "{{7*7}}", "{% x %}", "${x}"])
def test_s15_a_value_is_never_read_as_a_template(value: str) -> None:
    assert render("{{ name }}", {"name": value, "secret": "s"}) == value


def test_s15_paths_walk_through_objects_of_json_only() -> None:
    class Thing:
        secret = "s"

    values: dict[str, Any] = {"thing": Thing(), "text": "x", "list": [1], "deep": {"a b": {"c": 1}}}

    assert render("{{thing.secret}}{{text.upper}}{{list.0}}{{list.append}}{{thing}}{{deep}}", values) == ""
    assert render("{{ deep.a b.c }}", values) == "1"


def test_s15_html_escapes_every_value() -> None:
    attack = "<script>alert('x')</script>\"&"

    assert render('<b title="{{ a }}">{{ a }}</b>', {"a": attack}, as_html=True).count("<") == 2
    assert render("{{ a|default:<i> }}", {}, as_html=True) == "&lt;i&gt;"
    assert render("{{ a }}", {"a": attack}) == attack


def test_s15_output_and_time_are_limited() -> None:
    begin = time.thread_time()
    with pytest.raises(InvalidInput):
        render("{{ a }}" * 500, {"a": "x" * (MAX_OUTPUT // 100)})
    for hostile in ("{{" * 50_000, "{{ a" + "|" * 99_000, "{{ a." + "a" * 99_000 + "}}", "{" * 100_000):
        with pytest.raises(InvalidInput) if hostile.startswith("{{") else pytest.MonkeyPatch.context():
            check(hostile)
    assert time.thread_time() - begin < 0.5


def test_missing_values_become_empty_or_the_default() -> None:
    assert render("{{ a }}-{{ a.b }}-{{ a|default:bạn }}-{{ b|default:bạn }}", {"b": ""}) == "--bạn-bạn"
    assert render("{{ a }}{{ b }}{{ c }}", {"a": True, "b": 1.5, "c": None}) == "true1.5"


@pytest.mark.parametrize(
    ("value", "currency", "text"),
    [
        (450_000, "VND", "450.000 ₫"),
        (1_234_567.89, "VND", "1.234.568 ₫"),
        (0, "VND", "0 ₫"),
        (-5_000, "VND", "-5.000 ₫"),
        ("1234.5", "USD", "$1,234.50"),
        (-1, "USD", "-$1.00"),
        (1234.5, "EUR", "1.234,50 €"),
        (999, "JPY", "999 ¥"),
        (10, "CHF", "10.00 CHF"),
    ],
)
def test_money_is_written_as_its_country_does(value: Any, currency: str, text: str) -> None:
    assert render("{{ a|money:" + currency + " }}", {"a": value}).replace("\u00a0", " ") == text
    assert render("{{ a|money }}", {"a": {"amount": value, "currency": currency}}).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    "value", ["", "x", None, True, [], {}, float("nan"), float("inf"), 10**15, "9" * 50, "1.0000001"]
)
def test_what_is_no_amount_is_written_as_nothing(value: Any) -> None:
    assert amount(value) is None
    assert render("{{ a|money:VND }}", {"a": value}) == ""


@given(
    st.decimals(-(10**14), 10**14, allow_nan=False, allow_infinity=False, places=2),
    st.sampled_from(["VND", "USD", "CHF"]),
)
def test_money_keeps_every_digit(value: Decimal, currency: str) -> None:
    digits = "".join(letter for letter in money(value, currency) if letter.isdigit())
    rounded = round(value, 0 if currency == "VND" else 2)

    assert digits.lstrip("0") == "".join(letter for letter in f"{rounded:f}" if letter.isdigit()).lstrip("0")


def test_dates_are_local_days() -> None:
    assert render("{{ a|date }}", {"a": "2026-11-23T18:00:00Z"}) == "24/11/2026"
    assert render("{{ a|date:UTC }}", {"a": 1_795_456_800_000}) == day(1_795_456_800_000, "UTC")
    assert render("{{ a|date }}{{ b|date }}", {"a": "soon", "b": 10**18}) == ""
