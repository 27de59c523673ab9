"""DynamoDB's values to plain ones and back; what is read late is the same as what is read at once."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hoso.platform.wire import Late, from_wire, to_wire

PLAIN: Any = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5) | st.integers(-(10**30), 10**30) | st.floats(-1e30, 1e30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60)
@given(st.dictionaries(st.text(max_size=3), PLAIN | st.binary(max_size=4), max_size=5))
def test_what_is_written_is_read_again(item: dict[str, Any]) -> None:
    assert from_wire(to_wire(item)) == item


def test_numbers_with_a_fraction_in_a_list_are_no_whole_numbers() -> None:
    assert (
        repr(from_wire(to_wire({"l": [1, 2.5, 1e30, "x", None, [0.5]]}))) == "{'l': [1, 2.5, 1e+30, 'x', None, [0.5]]}"
    )


def test_a_map_that_is_read_late_has_the_same_entries() -> None:
    held = {"vip": ["event", "Order Completed"], "other": ["time", None]}
    wire = to_wire({"mr": held, "m": held, "v": 1})

    item = from_wire(wire, late=("mr",))

    assert isinstance(item["mr"], Late)
    assert (dict(item["mr"]), item["m"], item["v"]) == (held, held, 1)
    assert ("vip" in item["mr"], item["mr"].get("none"), len(item["mr"])) == (True, None, 2)
    assert from_wire(to_wire({"mr": "no map"}), late=("mr",)) == {"mr": "no map"}
