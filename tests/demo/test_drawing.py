"""Drawn photos are photos to the product: it accepts, reads and shrinks them."""

from datetime import UTC, datetime

import pytest

from app.media.rules import inspect
from app.pictures.rules import derive
from tools.demo.drawing import SCENES, Shot, photo

TAKEN = datetime(2026, 9, 3, 1, 2, 3, tzinfo=UTC)


@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_is_a_photo_of_its_own(scene: str) -> None:
    before = photo(Shot(scene, 7, taken_at=TAKEN, at=(21.5942, 105.8482)))
    assert inspect(before).detected_type == "image/jpeg"
    derived = derive(before, "image/jpeg")
    assert (derived.width, derived.height) == (1280, 960)
    assert derived.hint.taken_at == TAKEN
    assert derived.hint.lat == pytest.approx(21.5942, abs=1e-5)
    assert derived.hint.lon == pytest.approx(105.8482, abs=1e-5)
    plain = derive(photo(Shot(scene, 8)), "image/jpeg")
    assert plain.hint == (None, None, None)
    assert plain.dhash != derived.dhash


def test_the_same_shot_is_the_same_bytes() -> None:
    assert photo(Shot("hole", 3)) == photo(Shot("hole", 3))
    assert photo(Shot("hole", 3)) != photo(Shot("hole", 3, fixed=True))
