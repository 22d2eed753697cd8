"""Devices: registered by their people, one account a token, ended with the session."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from sqlmodel import col, select

from app.core import clock
from app.core.db import Session, transaction
from app.embedded import Database
from app.identity.models import Account, SignedInSession
from app.identity.policy import Viewer, citizen_viewer
from app.notifications import rules
from app.notifications.actions import end_signed_out_devices, register_device
from app.notifications.models import Device, Message
from app.notifications.queries import devices
from app.notifications.schemas import FcmDeviceIn
from tests.identity.people import bearer, open_staff, signed_in, staff_signed_in
from tests.support import make

POINT = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
COMMON = {"app_version": "1.4.0", "time_zone": "Asia/Ho_Chi_Minh"}
SUBSCRIPTION = {
    "endpoint": "https://fcm.googleapis.com/fcm/send/abc",
    "keys": {"p256dh": POINT, "auth": "BTBZMqHH6r4Tts7J_aSIgg"},
}
Json = dict[str, Any]


def fcm(token: str = "t" * 40, **more: object) -> Json:
    return {"provider": "fcm", "platform": "android", "token": token, "locale": "vi"} | COMMON | more


def put(client: TestClient, headers: dict[str, str], body: Json, installation: UUID | None = None) -> Any:
    return client.put(f"/v1/me/devices/{installation or uuid4()}", json=body, headers=headers)


def shown(client: TestClient, headers: dict[str, str]) -> list[Json]:
    items: list[Json] = client.get("/v1/me/devices", headers=headers).json()["items"]
    return items


def stored(session: Session) -> list[Device]:
    session.expire_all()
    return list(session.exec(select(Device).order_by(col(Device.id))))


@pytest.mark.parametrize(
    "body",
    [
        fcm(),
        {"provider": "apns", "platform": "ios", "token": "ab" * 32, "locale": "en"} | COMMON,
        {"provider": "webpush", "platform": "web", "subscription": SUBSCRIPTION, "locale": "vi"} | COMMON,
    ],
)
def test_a_device_is_registered_renewed_listed_and_ended(client: TestClient, session: Session, body: Json) -> None:
    headers, installation = bearer(signed_in(client)), uuid4()
    first = put(client, headers, body, installation)
    assert first.status_code == 200, first.text
    again = put(client, headers, body | {"app_version": "1.5.0"}, installation)
    assert again.json()["app_version"] == "1.5.0"
    (device,) = shown(client, headers)
    assert device == again.json()
    assert (device["installation_id"], device["provider"], device["current"]) == (
        str(installation),
        body["provider"],
        True,
    )
    assert "token" not in device
    (row,) = stored(session)
    assert (body.get("token") or "googleapis").encode() not in bytes(row.token_sealed or b"")
    for _ in range(2):  # ending it twice is no error
        assert client.delete(f"/v1/me/devices/{installation}", headers=headers).status_code == 204
    assert shown(client, headers) == []
    (row,) = stored(session)
    assert (row.end_reason, row.token_sealed, row.token_index) == ("signed_out", None, None)
    assert put(client, headers, body, installation).status_code == 200
    assert len(shown(client, headers)) == len(stored(session)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"provider": "sms"},
        {"token": "short"},
        {"token": "with blanks " * 4},
        {"platform": "symbian"},
        {"time_zone": "Asia/Nowhere"},
        {"time_zone": "../../etc/passwd"},
        {"app_version": "<script>"},
        {"locale": "fr"},
        {"provider": "apns", "platform": "ios", "token": "../" * 30},
        {"account_id": str(uuid4())},
    ],
)
def test_what_is_no_device_is_refused(client: TestClient, session: Session, change: Json) -> None:
    answer = put(client, make.bearer(make.citizen(session)), fcm() | change)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert stored(session) == []


@pytest.mark.parametrize(
    ("subscription", "code"),
    [
        (SUBSCRIPTION | {"endpoint": "https://169.254.169.254/x"}, "push_service_unknown"),
        (SUBSCRIPTION | {"endpoint": "http://fcm.googleapis.com/x"}, "push_service_unknown"),
        (SUBSCRIPTION | {"endpoint": "file:///etc/passwd"}, "invalid"),
        (SUBSCRIPTION | {"keys": {"p256dh": "AAAA", "auth": "BTBZMqHH6r4Tts7J_aSIgg"}}, "invalid"),
        (SUBSCRIPTION | {"keys": {"p256dh": POINT, "auth": "AAAA"}}, "invalid"),
        (SUBSCRIPTION | {"keys": {"p256dh": POINT, "auth": "!"}}, "invalid"),
    ],
)
def test_a_browser_may_not_choose_what_we_call(
    client: TestClient, session: Session, subscription: Json, code: str
) -> None:
    body = {"provider": "webpush", "subscription": subscription} | COMMON
    answer = put(client, make.bearer(make.citizen(session)), body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_a_token_belongs_to_whoever_registered_it_last(client: TestClient, session: Session) -> None:
    first, second = make.bearer(make.citizen(session)), make.bearer(make.citizen(session))
    assert put(client, first, fcm()).status_code == 200
    installation = uuid4()
    assert put(client, second, fcm(), installation).status_code == 200
    assert shown(client, first) == []
    assert [device["installation_id"] for device in shown(client, second)] == [str(installation)]
    assert sorted(row.end_reason or "" for row in stored(session)) == ["", "taken_over"]
    # One installation anew under the same account, as after the app was installed again.
    assert put(client, second, fcm()).status_code == 200
    assert len(shown(client, second)) == 1


def test_somebody_elses_installation_is_not_touched(client: TestClient, session: Session) -> None:
    first, second, installation = make.bearer(make.citizen(session)), make.bearer(make.citizen(session)), uuid4()
    assert put(client, first, fcm("a" * 40), installation).status_code == 200
    assert put(client, second, fcm("b" * 40), installation).status_code == 200
    assert client.delete(f"/v1/me/devices/{installation}", headers=second).status_code == 204
    assert len(shown(client, first)) == 1


def test_an_account_has_ten_devices_and_forgets_old_ones(client: TestClient, session: Session) -> None:
    headers, at = make.bearer(make.citizen(session)), clock.now()
    installations = [uuid4() for _ in range(25)]
    for number, installation in enumerate(installations):
        with clock.travelled(at + timedelta(seconds=number)):
            assert put(client, headers, fcm(f"{number:040d}"), installation).status_code == 200
    kept = [device["installation_id"] for device in shown(client, headers)]
    assert kept == [str(installation) for installation in reversed(installations[-rules.MAX_DEVICES :])]
    assert len(stored(session)) <= 2 * rules.MAX_DEVICES + 1


def test_registering_is_limited(client: TestClient, session: Session) -> None:
    headers = make.bearer(make.citizen(session))
    answers = [put(client, headers, fcm(), UUID(int=1)).status_code for _ in range(61)]
    assert (answers[-2], answers[-1]) == (200, 429)


def test_signing_out_ends_the_device(client: TestClient, session: Session) -> None:
    tokens = signed_in(client)
    headers = bearer(tokens)
    put(client, headers, fcm())
    account = UUID(tokens["account"]["id"])
    assert len(devices(session, [account])) == 1
    assert client.delete("/v1/auth/session", headers=headers).status_code == 204
    assert devices(session, [account]) == []  # at once
    end_signed_out_devices(session)
    (row,) = stored(session)
    assert (row.end_reason, row.token_sealed) == ("signed_out", None)


def test_a_session_that_is_forgotten_takes_its_device_along(client: TestClient, session: Session) -> None:
    put(client, bearer(signed_in(client)), fcm())
    session.delete(session.exec(select(SignedInSession)).one())
    session.flush()
    assert stored(session) == []


def test_who_is_blocked_registers_nothing(client: TestClient, session: Session) -> None:
    citizen = make.citizen(session)
    session.get_one(Account, citizen.id).status = "blocked"
    session.flush()
    assert put(client, make.bearer(citizen), fcm()).status_code == 401


def test_staff_have_devices_too(client: TestClient) -> None:
    open_staff("a@tn.vn")
    headers = bearer(staff_signed_in(client, "a@tn.vn"))
    assert put(client, headers, fcm(platform="web")).status_code == 200


def test_phones_swapped_at_the_same_moment_leave_each_token_with_one(committed: Database) -> None:
    with transaction() as session:
        viewers: list[Viewer] = [citizen_viewer(make.citizen(session).id) for _ in range(4)]
    tokens, gate = ["a" * 40, "b" * 40], threading.Barrier(8)

    def work(number: int) -> None:
        gate.wait(10)
        for turn in range(5):
            wanted = FcmDeviceIn.model_validate(fcm(tokens[(number + turn) % 2]))
            with transaction() as session:
                register_device(session, viewers[number % 4], UUID(int=number // 4), wanted)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    with transaction() as session:
        living = session.exec(select(Device).where(col(Device.ended_at).is_(None))).all()
    assert len(living) == 2
    assert len({device.token_index for device in living}) == 2


def test_administrators_see_what_messages_say(client: TestClient, session: Session) -> None:
    headers = make.bearer(make.staff(session, "administrator"))
    items = client.get("/v1/notifications/templates", headers=headers).json()["items"]
    found = {item["name"]: item for item in items}
    assert found.keys() == rules.TEMPLATES.keys()
    resolved = found["report_resolved"]
    assert resolved["channels"] == ["push", "zns", "sms"]
    assert (resolved["vi"]["push_title"], resolved["vi"]["push_body"]) == ("7KQ4-M2XT", "đã xử lý")
    assert "has been resolved" in resolved["en"]["text"]
    assert (found["sign_in_code"]["channels"], found["sign_in_code"]["at_any_hour"]) == (["sms"], True)


def test_a_message_is_tried_with_values_before_it_is_ever_sent(client: TestClient, session: Session) -> None:
    administrator = make.bearer(make.staff(session, "administrator"))

    def preview(name: str, params: dict[str, str]) -> Any:
        body = {"params": params}
        return client.post(f"/v1/notifications/templates/{name}/preview", json=body, headers=administrator)

    digest = preview("case_digest", {"overdue": "12", "references": "AAAA-BBBB"}).json()
    assert digest["channels"] == ["email"]
    assert "12 phản ánh quá hạn" in digest["vi"]["text"]
    assert "AAAA-BBBB" in digest["en"]["text"]
    assert "AAAA-BBBB" not in digest["vi"]["push_title"] + digest["vi"]["push_body"]
    refused = preview("case_overdue", {"name": "Nguyễn Thị Bé"})
    assert (refused.status_code, refused.json()["code"]) == (422, "template_variable_unknown")
    assert preview("case_lost", {}).status_code == 404
    assert session.exec(select(Message)).all() == []
