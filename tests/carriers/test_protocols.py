"""Every carrier against a server that speaks its protocol, with the ways it fails."""

import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import SecretStr

from app.carriers import actions, rules
from app.carriers.actions import Fleet, Line, build
from app.core import clock
from app.core.config import Settings
from app.notifications.rules import (
    Accepted,
    Carrier,
    Delivery,
    NotAsked,
    Outgoing,
    Permanent,
    QuotaExceeded,
    RetryAfter,
    TokenDead,
    UnknownMessageError,
)
from tests.carriers.servers import MailServer, Say, Server, http2_server, http_server, mail_server

PATIENCE_S = 0.8
TOKEN = "ab" * 32
FAULTS = ("silence", "garbage", "cut", "drip")


def pem(key: Any) -> str:
    text: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return text.decode()


RSA, APPLE, VAPID, BROWSER = (
    rsa.generate_private_key(65537, 2048),
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP256R1()),
)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "HOP_TIMEOUT", timedelta(seconds=PATIENCE_S))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def server(stack: ExitStack) -> Server:
    return stack.enter_context(http_server())


@pytest.fixture
def apple(stack: ExitStack) -> Server:
    return stack.enter_context(http2_server())


@pytest.fixture
def mail(stack: ExitStack) -> MailServer:
    return stack.enter_context(mail_server())


@pytest.fixture
def configured(server: Server, apple: Server, mail: MailServer, tmp_path: Path) -> Settings:
    google = {"project_id": "p1", "client_email": "a@p1.example", "private_key": pem(RSA)}
    (tmp_path / "fcm.json").write_text(json.dumps(google | {"token_uri": f"{server.address}/token"}))
    (tmp_path / "apple.p8").write_text(pem(APPLE))
    (tmp_path / "zns").write_text("zalo-token\n")
    return Settings.model_construct(
        fcm_credentials=tmp_path / "fcm.json",
        fcm_url=server.address,
        apns_key_file=tmp_path / "apple.p8",
        apns_key_id="KEY1",
        apns_team_id="TEAM1",
        apns_topic="vn.example.phananh",
        apns_url=apple.address,
        webpush_key=SecretStr(rules.unpadded(VAPID.private_numbers().private_value.to_bytes(32, "big"))),
        webpush_contact="mailto:a@b.vn",
        webpush_origins=(server.address,),
        zns_token_file=tmp_path / "zns",
        zns_templates={"report_resolved": "7788"},
        zns_url=server.address,
        esms_key="key",
        esms_secret=SecretStr("secret"),
        esms_brand="PHANANH",
        esms_url=server.address,
        smtp_host="127.0.0.1",
        smtp_port=mail.port,
        smtp_security="none",
        smtp_user="",
        smtp_password=SecretStr(""),
        smtp_from="phananh@example.vn",
    )


@pytest.fixture
def fleet(configured: Settings, stack: ExitStack) -> Fleet:
    line = Line()
    stack.callback(line.close)
    return build(configured, line)


def address(carrier: Carrier, server: Server) -> str:
    point = rules.unpadded(rules.public_point(BROWSER.public_key()))
    subscription = {
        "endpoint": f"{server.address}/push/1",
        "keys": {"p256dh": point, "auth": rules.unpadded(bytes(16))},
    }
    known = {"webpush": json.dumps(subscription), "smtp": "can-bo@example.vn", "apns": TOKEN, "fcm": "token-of-a-phone"}
    return known.get(carrier, "0912345678")


def outgoing(carrier: Carrier, server: Server, template: str = "report_resolved") -> Outgoing:
    channel: Any = {"zns": "zns", "esms": "sms", "smtp": "email"}.get(carrier, "push")
    return Outgoing(
        id=uuid4(),
        to=address(carrier, server),
        channel=channel,
        template=template,
        locale="vi",
        text="đã xử lý",
        params={"reference": "7KQ4-M2XT"},
        title="7KQ4-M2XT",
        urgent=True,
        delivery_id=UUID(int=7),
    )


GOOD: dict[Carrier, list[Say]] = {
    "fcm": [
        Say(body={"access_token": "google-token", "expires_in": 3600}),
        Say(body={"name": "projects/p1/messages/1"}),
    ],
    "apns": [Say()],
    "webpush": [Say(201)],
    "zns": [Say(body={"error": 0})],
    "esms": [Say(body={"CodeResult": "100"})],
}
OVER_HTTP = sorted(GOOD)


def prepared(carrier: Carrier, server: Server, apple: Server, last: Say) -> Server:
    """The carrier's server, which will say `last` to a message; Google's token is given before."""
    found = apple if carrier == "apns" else server
    found.says = [*(GOOD["fcm"][:1] if carrier == "fcm" else []), last]
    return found


def send(fleet: Fleet, carrier: Carrier, server: Server) -> Delivery:
    return fleet[carrier].send(outgoing(carrier, server))


@pytest.mark.parametrize("carrier", OVER_HTTP)
def test_each_takes_a_message(carrier: Carrier, fleet: Fleet, server: Server, apple: Server) -> None:
    prepared(carrier, server, apple, GOOD[carrier][-1])
    assert send(fleet, carrier, server) == Accepted()
    assert send(fleet, carrier, server) == Accepted()


def test_what_fcm_hears(fleet: Fleet, server: Server) -> None:
    server.says = list(GOOD["fcm"])
    sent = [outgoing("fcm", server), outgoing("fcm", server)]
    assert [fleet["fcm"].send(one) for one in sent] == [Accepted(), Accepted()]
    token, first, second = server.heard  # the access token is fetched once
    assertion = token.body.decode().rpartition("assertion=")[2]
    claims = jwt.decode(assertion, RSA.public_key(), algorithms=["RS256"], audience=f"{server.address}/token")
    assert claims["scope"].endswith("firebase.messaging")
    assert first.path == second.path == "/v1/projects/p1/messages:send"
    assert first.headers["authorization"] == "Bearer google-token"
    message = first.json()["message"]
    assert message["notification"] == {"title": "7KQ4-M2XT", "body": "đã xử lý"}
    assert message["data"] == {"message_id": str(sent[0].id), "reference": "7KQ4-M2XT"}


def test_what_apns_hears(fleet: Fleet, server: Server, apple: Server) -> None:
    sent = outgoing("apns", server)
    assert fleet["apns"].send(sent) == Accepted()
    (heard,) = apple.heard
    assert heard.path == f"/3/device/{TOKEN}"
    scheme, _, token = heard.headers["authorization"].partition(" ")
    assert scheme == "bearer"
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": "KEY1", "typ": "JWT"}
    assert jwt.decode(token, APPLE.public_key(), algorithms=["ES256"])["iss"] == "TEAM1"
    assert heard.headers["apns-id"] == str(sent.delivery_id)
    assert heard.headers["apns-collapse-id"] == str(sent.id)
    assert (heard.headers["apns-topic"], heard.headers["apns-priority"]) == ("vn.example.phananh", "10")
    assert heard.json()["aps"]["alert"] == {"title": "7KQ4-M2XT", "body": "đã xử lý"}
    assert set(heard.json()) == {"aps", "message_id", "reference"}


def test_what_zalo_and_esms_hear(fleet: Fleet, server: Server) -> None:
    server.says = [*GOOD["zns"], *GOOD["esms"]]
    assert send(fleet, "zns", server) == send(fleet, "esms", server) == Accepted()
    zalo, sms = server.heard
    assert (zalo.path, zalo.headers["access_token"]) == ("/message/template", "zalo-token")
    assert zalo.json() == {
        "phone": "84912345678",
        "template_id": "7788",
        "template_data": {"reference": "7KQ4-M2XT"},
        "tracking_id": str(UUID(int=7)),
    }
    assert sms.path == "/MainService.svc/json/SendMultipleMessage_V4_post_json/"
    told = sms.json()
    assert (told["Phone"], told["Content"], told["IsUnicode"]) == ("0912345678", "đã xử lý", "1")
    assert (told["ApiKey"], told["SecretKey"], told["Brandname"]) == ("key", "secret", "PHANANH")
    assert told["RequestId"] == str(UUID(int=7))


def test_zalo_is_asked_only_for_approved_templates(fleet: Fleet, server: Server) -> None:
    assert fleet["zns"].send(outgoing("zns", server, "report_closed")) == Permanent("zns_without_template")
    assert server.heard == []


def test_an_approved_template_of_a_message_we_do_not_have_stops_the_start(
    configured: Settings, stack: ExitStack
) -> None:
    line = Line()
    stack.callback(line.close)
    with pytest.raises(UnknownMessageError):
        build(configured.model_copy(update={"zns_templates": {"report_resolvd": "7788"}}), line)


def test_a_browser_of_an_unknown_push_service_is_not_called(fleet: Fleet, server: Server) -> None:
    other = outgoing("webpush", Server("http://127.0.0.1:1"))
    assert fleet["webpush"].send(other) == Permanent("push_service_unknown")


def test_a_browser_whose_key_is_on_no_curve_is_gone(fleet: Fleet, server: Server) -> None:
    keys = {"p256dh": rules.unpadded(b"\x04" + bytes(64)), "auth": rules.unpadded(bytes(16))}
    one = outgoing("webpush", server)
    object.__setattr__(one, "to", json.dumps({"endpoint": f"{server.address}/x", "keys": keys}))
    assert fleet["webpush"].send(one) == TokenDead()


# Failures


BAD_TOKEN = {"error": {"details": [{"fieldViolations": [{"field": "message.token"}]}]}}
GONE = {"error": {"details": [{"errorCode": "UNREGISTERED"}]}}


@pytest.mark.parametrize(
    ("carrier", "say", "delivery"),
    [
        ("fcm", Say(400, BAD_TOKEN), TokenDead()),
        ("fcm", Say(404, GONE), TokenDead()),
        ("apns", Say(400, {"reason": "BadDeviceToken"}), TokenDead()),
        ("apns", Say(410, {"reason": "Unregistered", "timestamp": 1}), TokenDead()),
        ("webpush", Say(404), TokenDead()),
        ("webpush", Say(410), TokenDead()),
        ("webpush", Say(400), Permanent("webpush_refused")),
        ("fcm", Say(429, headers={"retry-after": "77"}), QuotaExceeded(77)),
        ("apns", Say(429, {"reason": "TooManyRequests"}, {"retry-after": "77"}), RetryAfter(77)),
        ("webpush", Say(429, headers={"retry-after": "77"}), QuotaExceeded(77)),
        ("zns", Say(429, headers={"retry-after": "77"}), QuotaExceeded(77)),
        ("esms", Say(429, headers={"retry-after": "77"}), QuotaExceeded(77)),
        *((carrier, Say(status), RetryAfter()) for carrier in OVER_HTTP for status in (401, 500, 302)),
        *((carrier, Say(fault=fault), RetryAfter()) for carrier in OVER_HTTP for fault in FAULTS),
        *((carrier, Say(body=b"x" * 200_000), RetryAfter()) for carrier in OVER_HTTP),
    ],
)
def test_each_failure_has_its_meaning_and_its_time(
    carrier: Carrier, say: Say, delivery: Delivery, fleet: Fleet, server: Server, apple: Server
) -> None:
    prepared(carrier, server, apple, say)
    began = time.monotonic()
    assert send(fleet, carrier, server) == delivery
    assert time.monotonic() - began < PATIENCE_S + 0.6


@pytest.mark.parametrize("carrier", OVER_HTTP)
def test_a_connection_that_died_while_it_was_kept_costs_at_most_one_try(
    carrier: Carrier, fleet: Fleet, server: Server, apple: Server
) -> None:
    good = GOOD[carrier][-1]
    found = prepared(carrier, server, apple, Say(good.status, good.body, fault="hang_up"))
    assert send(fleet, carrier, server) == Accepted()
    found.says = [good]
    assert Accepted() in [send(fleet, carrier, server) for _ in range(2)]


@pytest.mark.parametrize("carrier", OVER_HTTP)
def test_a_kept_connection_that_went_half_open_costs_one_try_and_its_time(
    carrier: Carrier, fleet: Fleet, server: Server, apple: Server
) -> None:
    """The peer is gone without a word: nothing answers on the line that served a moment ago."""
    good = GOOD[carrier][-1]
    prepared(carrier, server, apple, good)
    assert send(fleet, carrier, server) == Accepted()
    found = apple if carrier == "apns" else server
    found.says = [Say(fault="silence"), good]
    began = time.monotonic()
    assert send(fleet, carrier, server) == RetryAfter()
    assert time.monotonic() - began < PATIENCE_S + 0.6
    assert send(fleet, carrier, server) == Accepted()


def test_a_port_that_nobody_listens_on(configured: Settings, server: Server, stack: ExitStack) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nowhere, line = Server(f"http://127.0.0.1:{port}"), Line()
    stack.callback(line.close)
    places = {f"{carrier}_url": nowhere.address for carrier in ("fcm", "apns", "zns", "esms")}
    fleet = build(
        configured.model_copy(update=places | {"webpush_origins": (nowhere.address,), "smtp_port": port}), line
    )
    server.says = GOOD["fcm"][:1]
    assert {carrier: send(fleet, carrier, nowhere) for carrier in fleet} == dict.fromkeys(fleet, RetryAfter())


def test_our_own_token_is_made_anew_after_it_was_refused(fleet: Fleet, server: Server, apple: Server) -> None:
    token, good = GOOD["fcm"]
    server.says = [token, Say(401), token, good]
    assert [send(fleet, "fcm", server), send(fleet, "fcm", server)] == [RetryAfter(), Accepted()]
    apple.says = [Say(403, {"reason": "ExpiredProviderToken"}), Say()]
    at = clock.now()
    with clock.travelled(at):
        assert send(fleet, "apns", server) == RetryAfter()
    with clock.travelled(at + timedelta(seconds=1)):
        assert send(fleet, "apns", server) == Accepted()
    assert len({heard.headers["authorization"] for heard in apple.heard}) == 2


def test_google_refusing_its_token_is_no_fault_of_a_message(fleet: Fleet, server: Server) -> None:
    server.says = [Say(400, {"error": "invalid_grant"})]
    assert send(fleet, "fcm", server) == RetryAfter()


def test_apples_token_is_renewed_before_an_hour_is_over(fleet: Fleet, server: Server, apple: Server) -> None:
    at = clock.now()
    for minutes in (0, 40, 50):
        with clock.travelled(at + timedelta(minutes=minutes)):
            assert send(fleet, "apns", server) == Accepted()
    first, second, third = (heard.headers["authorization"] for heard in apple.heard)
    assert first == second != third


def test_who_keeps_failing_is_left_alone_and_others_are_not(fleet: Fleet, server: Server, apple: Server) -> None:
    at = clock.now()
    server.says = [Say(500)]
    with clock.travelled(at):
        answers = [send(fleet, "esms", server) for _ in range(7)]
        assert answers == [RetryAfter()] * 5 + [NotAsked(10)] * 2
        assert send(fleet, "apns", server) == Accepted()
    assert len(server.heard) == 5
    with clock.travelled(at + timedelta(seconds=10)):  # one try ends the rest
        assert [send(fleet, "esms", server) for _ in range(2)] == [RetryAfter(), NotAsked(20)]
    server.says = GOOD["esms"]
    with clock.travelled(at + timedelta(seconds=30)):
        assert [send(fleet, "esms", server) for _ in range(3)] == [Accepted()] * 3


def test_logs_show_no_token(fleet: Fleet, server: Server, apple: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    apple.says = [Say(), Say(fault="garbage")]
    server.says = [Say(500)]
    for carrier in ("apns", "apns", "webpush", "zns", "esms"):
        send(fleet, carrier, server)
    for secret in (TOKEN, "/push/1", "zalo-token", "0912345678", "7KQ4"):
        assert secret not in caplog.text


# Mail


def test_a_letter_arrives_once_and_says_who_it_is(fleet: Fleet, server: Server, mail: MailServer) -> None:
    mail.quit = "500 what"  # it has the letter: a rude farewell is no reason to send it again
    assert send(fleet, "smtp", server) == Accepted()
    letter = message_from_bytes(mail.letters[0].encode(), policy=policy.default)
    assert (letter["To"], letter["Subject"]) == ("can-bo@example.vn", "7KQ4-M2XT")
    assert letter["Message-ID"] == f"<{UUID(int=7)}@example.vn>"
    assert letter.get_content().strip() == "đã xử lý"


@pytest.mark.parametrize(
    ("told", "delivery"),
    [
        ({"rcpt": "550 no such user"}, Permanent("mail_refused")),
        ({"rcpt": "450 greylisted"}, RetryAfter()),
        ({"rcpt": "421 too busy"}, RetryAfter()),
        ({"data": "554 spam"}, Permanent("mail_refused")),
        ({"data": "452 full"}, RetryAfter()),
        ({"greeting": "554 go away"}, RetryAfter()),
        ({"greeting": "garbage"}, RetryAfter()),
        ({"greeting": "silence"}, RetryAfter()),
        ({"greeting": "drip"}, RetryAfter()),
    ],
)
def test_a_mail_server_that_refuses_or_misbehaves(
    told: dict[str, str], delivery: Delivery, fleet: Fleet, server: Server, mail: MailServer
) -> None:
    for name, value in told.items():
        setattr(mail, name, value)
    began = time.monotonic()
    assert send(fleet, "smtp", server) == delivery
    assert time.monotonic() - began < PATIENCE_S + 0.6
    assert mail.letters == []
