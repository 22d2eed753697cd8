"""What carriers' answers mean, Web Push's own example, and who is left alone."""

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from app.carriers import rules
from app.carriers.rules import Answer, Circuit, padded, unpadded
from app.notifications.rules import (
    Accepted,
    Delivery,
    NotAsked,
    Outgoing,
    Permanent,
    QuotaExceeded,
    RetryAfter,
    TokenDead,
    push_origin_allowed,
)

AT = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)


def said(status: int, body: object = None, **headers: str) -> Answer:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, told, json.dumps(body).encode() if body is not None else b"")


def fcm_error(code: str, **more: object) -> dict[str, object]:
    return {"error": {"status": code, "details": [{"@type": "type.googleapis.com/x", "errorCode": code, **more}]}}


@pytest.mark.parametrize(
    ("answer", "delivery"),
    [
        (said(200, {"name": "projects/p/messages/1"}), Accepted()),
        (said(200), RetryAfter()),  # a proxy's friendly page is no acceptance
        (said(404, fcm_error("UNREGISTERED")), TokenDead()),
        (said(404), RetryAfter()),  # a wrong address of ours kills nobody's token
        (said(403, fcm_error("SENDER_ID_MISMATCH")), TokenDead()),
        (said(403), RetryAfter()),
        (said(400, fcm_error("INVALID_ARGUMENT", fieldViolations=[{"field": "message.token"}])), TokenDead()),
        (
            said(400, fcm_error("INVALID_ARGUMENT", fieldViolations=[{"field": "message.data"}])),
            Permanent("fcm_refused"),
        ),
        (said(400, {"error": "text"}), Permanent("fcm_refused")),
        (said(401), RetryAfter()),
        (said(429, retry_after="30"), QuotaExceeded(30)),
        (said(429), QuotaExceeded(60)),
        (said(503, retry_after="20"), RetryAfter(20)),
        (said(500), RetryAfter()),
        (Answer(500, {}, b"\xff\xfe[]"), RetryAfter()),
    ],
)
def test_what_fcm_means(answer: Answer, delivery: Delivery) -> None:
    assert rules.fcm_answer(answer, AT) == delivery


@pytest.mark.parametrize(
    ("answer", "delivery"),
    [
        (said(200), Accepted()),
        (said(410, {"reason": "Unregistered"}), TokenDead()),
        (said(400, {"reason": "BadDeviceToken"}), TokenDead()),
        (said(400, {"reason": "DeviceTokenNotForTopic"}), TokenDead()),
        (said(400, {"reason": "PayloadEmpty"}), Permanent("apns_refused")),
        (said(413, {"reason": "PayloadTooLarge"}), Permanent("apns_refused")),
        (said(403, {"reason": "ExpiredProviderToken"}), RetryAfter()),
        (said(429, {"reason": "TooManyRequests"}, retry_after="9"), RetryAfter(9)),
        (said(429, {"reason": "TooManyProviderTokenUpdates"}), QuotaExceeded(60)),
        (said(503, {"reason": "ServiceUnavailable"}), RetryAfter()),
    ],
)
def test_what_apns_means(answer: Answer, delivery: Delivery) -> None:
    assert rules.apns_answer(answer, AT) == delivery


@pytest.mark.parametrize(
    ("status", "delivery"),
    [
        (201, Accepted()),
        (404, TokenDead()),
        (410, TokenDead()),
        (413, Permanent("webpush_refused")),
        (403, RetryAfter()),
        (429, QuotaExceeded(60)),
        (502, RetryAfter()),
        (307, RetryAfter()),
    ],
)
def test_what_push_services_mean(status: int, delivery: Delivery) -> None:
    assert rules.webpush_answer(said(status), AT) == delivery


@pytest.mark.parametrize(
    ("answer", "delivery"),
    [
        (said(200, {"error": 0, "message": "Success"}), Accepted()),
        (said(200, {"error": -118}), Permanent("zns_unreachable")),
        (said(200, {"error": -109}), Permanent("zns_refused")),
        (said(200, {"error": -124}), RetryAfter()),  # our token has run out
        (said(200, {"error": -144}), QuotaExceeded(60)),
        (said(200, {"error": "0"}), RetryAfter()),
        (said(200, []), RetryAfter()),
        (said(429, retry_after="5"), QuotaExceeded(5)),
        (said(500), RetryAfter()),
    ],
)
def test_what_zalo_means(answer: Answer, delivery: Delivery) -> None:
    assert rules.zns_answer(answer, AT) == delivery


@pytest.mark.parametrize(
    ("answer", "delivery"),
    [
        (said(200, {"CodeResult": "100", "SMSID": "x"}), Accepted()),
        (said(200, {"CodeResult": "124"}), Accepted()),  # it has this RequestId: our first try got through
        (said(200, {"CodeResult": "108"}), Permanent("sms_unreachable")),
        (said(200, {"CodeResult": "146"}), Permanent("sms_refused")),
        (said(200, {"CodeResult": "101"}), RetryAfter()),
        (said(200, {"CodeResult": "103"}), QuotaExceeded(60)),
        (said(200), RetryAfter()),
        (said(429), QuotaExceeded(60)),
        (said(500, {"CodeResult": "100"}), RetryAfter()),
    ],
)
def test_what_esms_means(answer: Answer, delivery: Delivery) -> None:
    assert rules.esms_answer(answer, AT) == delivery


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("120", 120),
        ("Mon, 02 Mar 2026 01:00:30 GMT", 30),
        ("Mon, 02 Mar 2026 00:00:00 GMT", 0),
        ("999999999", 86_400),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("²", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(told: str, seconds: float | None) -> None:
    assert rules.retry_after(said(429, retry_after=told), AT) == seconds


# Web Push


def test_the_example_of_rfc_8291() -> None:
    browser = padded("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4")
    made = rules.encrypt(
        b"When I grow up, I want to be a watermelon",
        browser,
        padded("BTBZMqHH6r4Tts7J_aSIgg"),
        salt=padded("DGv6ra1nlYgDCS1FRnbzlw"),
        ephemeral=rules.vapid_key("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"),
    )
    assert unpadded(made) == (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl"
        "7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


def test_a_push_service_can_verify_who_sends() -> None:
    own, browser = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    point = unpadded(rules.public_point(browser.public_key()))
    subscription = {"endpoint": "https://push.example/x/1", "keys": {"p256dh": point, "auth": unpadded(bytes(16))}}
    text = {"to": json.dumps(subscription), "channel": "push", "template": "report_resolved"}
    outgoing = Outgoing(id=uuid4(), locale="vi", text="đã xử lý", params={}, title="7KQ4-M2XT", **text)  # type: ignore[arg-type]
    call = rules.webpush_call(own, "mailto:a@b.vn", outgoing, AT)
    assert call.url == "https://push.example/x/1"
    token = call.headers["authorization"].removeprefix("vapid t=").partition(",")[0]
    claims = jwt.decode(
        token, own.public_key(), algorithms=["ES256"], audience="https://push.example", options={"verify_exp": False}
    )
    assert claims["sub"] == "mailto:a@b.vn"
    assert claims["exp"] <= (AT + timedelta(hours=24)).timestamp()
    assert len(call.headers["topic"]) <= 32
    assert "đã xử lý".encode() not in call.body
    assert "push.example" not in repr(call)


ORIGINS = ("https://fcm.googleapis.com", "https://*.push.apple.com", "http://127.0.0.1:8080")


@pytest.mark.parametrize(
    ("endpoint", "allowed"),
    [
        ("https://fcm.googleapis.com/fcm/send/abc", True),
        ("https://web.push.apple.com/abc", True),
        ("http://127.0.0.1:8080/x", True),
        ("http://fcm.googleapis.com/x", False),
        ("https://fcm.googleapis.com:22/x", False),
        ("https://fcm.googleapis.com.evil.example/x", False),
        ("https://evilpush.apple.com/x", False),
        ("https://push.apple.com/x", False),
        ("https://a@fcm.googleapis.com/x", False),
        ("https://fcm.googleapis.com@evil.example/x", False),
        ("https://evil.example\\@fcm.googleapis.com/x", False),
        ("https://[::1/x", False),
        ("https://fcm.googleapis.com:port/x", False),
        ("https://169.254.169.254/latest", False),
        ("http://127.0.0.1/x", False),
        ("file:///etc/passwd", False),
    ],
)
def test_only_known_push_services_are_called(endpoint: str, allowed: bool) -> None:
    assert push_origin_allowed(endpoint, ORIGINS) is allowed


# Who fails is left alone


def test_a_carrier_rests_from_its_fifth_failure_on_and_longer_each_time() -> None:
    circuit, rests = Circuit(), []
    for _ in range(12):
        circuit = circuit.after(RetryAfter(), AT)
        rests.append(circuit.rest(AT))
    assert rests == [0, 0, 0, 0, 10, 20, 40, 80, 160, 300, 300, 300]
    assert circuit.rest(AT + timedelta(seconds=300)) == 0
    assert circuit.after(Accepted(), AT) == Circuit()


def test_an_allowance_is_waited_for_and_is_no_failure() -> None:
    circuit = Circuit().after(QuotaExceeded(90), AT)
    assert (circuit.failures, circuit.rest(AT)) == (0, 90)


@given(
    st.lists(st.sampled_from([Accepted(), RetryAfter(), Permanent("x"), TokenDead(), QuotaExceeded(7), NotAsked(3)]))
)
def test_a_rest_is_bounded_and_only_failures_or_quotas_bring_it(answers: list[Delivery]) -> None:
    circuit = Circuit()
    for answer in answers:
        circuit = circuit.after(answer, AT)
        assert 0 <= circuit.rest(AT) <= 300
        if isinstance(answer, Accepted | Permanent | TokenDead):
            assert circuit.rest(AT) == 0
