"""Closures for show: what is warned of, and that nothing is refused for it."""

import io
import json
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.core import clock
from app.core.db import Session
from app.duplicates import rules
from app.identity.policy import Viewer
from app.media import actions as media
from app.pictures.rules import derive
from tests.media import pictures
from tests.support import make, places

HOME = places.codes()[0]


def uploaded(viewer: Viewer, data: bytes) -> str:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        return str(json.loads(media.receive(viewer.id, uuid4(), file).body)["id"])


def resolved(client: TestClient, session: Session, officer: Viewer, note: str, **told: Any) -> UUID:
    """A case of HOME that `officer` resolved; `before` and `after` are pictures."""
    citizen = make.citizen(session)
    session.commit()
    before = [uploaded(citizen, data) for data in told.get("before", [])]
    case_id = make.routed(session, client, citizen, within=HOME, media_ids=before)
    after = [uploaded(officer, data) for data in told.get("after", [])]
    assert make.move(client, officer, case_id, "accept").status_code == 200
    body = {"outcome": "fixed", "note": note, "media_ids": after}
    assert make.move(client, officer, case_id, "resolve", body).status_code == 200
    media.process_owed(derive)
    return case_id


def warned(client: TestClient, viewer: Viewer, case_id: UUID) -> list[str]:
    answer = client.get(f"/v1/cases/{case_id}/warnings", headers=make.bearer(viewer))
    assert answer.status_code == 200, answer.text
    return [item["code"] for item in answer.json()["items"]]


def turned(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return pictures.saved(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).convert("RGB"), "JPEG")


def test_a_photo_of_before_is_no_photo_of_after(client: TestClient, session: Session) -> None:
    officer, lead = make.staff(session, "officer", HOME), make.staff(session, "lead", HOME)
    photo = pictures.jpeg(800, 600)
    again = pictures.jpeg(400, 300, quality=40)  # the same view, smaller and coarser
    sham = resolved(client, session, officer, "Đã lắp nắp mới.", before=[photo], after=[again])
    assert warned(client, lead, sham) == ["photo_repeated"]
    honest = resolved(client, session, officer, "Đã vá xong.", before=[photo], after=[turned(photo)])
    assert warned(client, lead, honest) == []


def test_a_photo_older_than_the_report_is_warned_of(client: TestClient, session: Session) -> None:
    officer = make.staff(session, "officer", HOME)
    yesterday, tomorrow = (
        pictures.jpeg(exif=pictures.exif(taken=f"{clock.now() + timedelta(days=days):%Y:%m:%d %H:%M:%S}", lat=None))
        for days in (-1, 1)
    )
    old = resolved(client, session, officer, "Đã vá.", after=[yesterday])
    assert warned(client, officer, old) == ["photo_older"]
    new = resolved(client, session, officer, "Đã vá lại.", after=[tomorrow])
    assert warned(client, officer, new) == []


def test_a_note_used_again_and_again_is_warned_of_within_one_unit(client: TestClient, session: Session) -> None:
    officer, dispatcher = make.staff(session, "officer", HOME), make.staff(session, "dispatcher")
    notes = ["Đã xử lý theo quy định.", "da xu ly theo quy dinh", "ĐÃ XỬ LÝ THEO QUY ĐỊNH!", "Đã xử lý theo quy định"]
    cases = [resolved(client, session, officer, note) for note in notes]
    assert warned(client, dispatcher, cases[-1]) == []
    last = resolved(client, session, officer, notes[0])
    assert warned(client, dispatcher, last) == warned(client, dispatcher, cases[0]) == ["note_cloned"]
    own = resolved(client, session, officer, "Đã thay bóng đèn cột số 7.")
    assert warned(client, dispatcher, own) == []


def test_a_case_without_a_result_has_no_warnings(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    assert warned(client, make.staff(session, "lead", HOME), case_id) == []


PHOTOS = ["DSCN0010.jpg", "DSCN0021.jpg", "landscape_6.jpg", "no_exif.jpg", "jolla.jpg"]


def test_real_photos_are_told_apart_and_recognised_when_sent_again(real_data: Path) -> None:
    hashes = {}
    for name in PHOTOS:
        data = (real_data / "photos" / name).read_bytes()
        derived = derive(data, "image/jpeg")
        again = derive(pictures.saved(Image.open(io.BytesIO(derived.large)).convert("RGB"), "JPEG"), "image/jpeg")
        assert rules.bits_apart(derived.dhash, again.dhash) <= rules.SAME_PHOTO_BITS, name
        hashes[name] = derived.dhash
    for one in PHOTOS:
        for other in PHOTOS:
            if one < other:
                assert rules.bits_apart(hashes[one], hashes[other]) > rules.SAME_PHOTO_BITS, (one, other)


@pytest.mark.parametrize("role", ["officer", "outsider"])
def test_warnings_are_for_who_may_read_the_case(client: TestClient, session: Session, role: str) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    unit = HOME if role == "officer" else places.codes()[50]
    viewer = make.staff(session, "officer", unit)
    answer = client.get(f"/v1/cases/{case_id}/warnings", headers=make.bearer(viewer))
    assert answer.status_code == (200 if role == "officer" else 404)
