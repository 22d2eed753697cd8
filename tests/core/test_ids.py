"""Identifiers for rows and for people."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.core import clock, ids


def test_uuid7_sorts_by_time_and_follows_the_simulated_clock() -> None:
    then = datetime(2025, 7, 1, 1, 2, 3, tzinfo=UTC)
    with clock.travelled(then):
        earlier = ids.uuid7()
    assert earlier.version == 7
    assert earlier.variant == "specified in RFC 4122"
    assert int(earlier) >> 80 == int(then.timestamp() * 1000)
    assert earlier < ids.uuid7(then + timedelta(milliseconds=1))


def test_references_survive_being_typed_and_dictated() -> None:
    reference = ids.reference()
    assert ids.parse_reference(reference.lower().replace("-", " ")) == reference


@given(st.data())
def test_a_single_wrong_character_is_noticed(data: st.DataObject) -> None:
    reference = ids.reference().replace("-", "")
    place = data.draw(st.integers(0, len(reference) - 1))
    wrong = data.draw(st.sampled_from([char for char in ids.ALPHABET if char != reference[place]]))
    assert ids.parse_reference(reference[:place] + wrong + reference[place + 1 :]) is None


@given(st.text(max_size=20))
def test_anything_else_is_no_reference(text: str) -> None:
    parsed = ids.parse_reference(text)
    assert parsed is None or ids.parse_reference(parsed) == parsed
