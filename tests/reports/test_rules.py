"""Small decisions about evidence."""

import pytest

from app.reports.rules import far_hint

CAMERA = (21.594167, 105.848056)


@pytest.mark.parametrize(
    ("lat", "lon", "metres"),
    [
        (21.594167, 105.848056, None),
        (21.594167, 105.852500, None),  # 460 m
        (21.594167, 105.853000, 512),
        (21.0285, 105.8542, 62_634),  # Hà Nội
    ],
)
def test_a_hint_far_from_the_pin(lat: float, lon: float, metres: int | None) -> None:
    found = far_hint(CAMERA, (lat, lon))
    assert found == (None if metres is None else pytest.approx(metres, rel=0.01))
