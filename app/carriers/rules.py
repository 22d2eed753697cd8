"""What is said to each carrier and what its answer means. No input or output.

Sources: Firebase "Send messages with FCM HTTP v1", Apple "Sending notification requests to APNs", RFC 8030, 8188, 8291
and 8292 (Web Push), Zalo "ZNS: send by template" with its error codes, eSMS "SendMultipleMessage_V4" with its.
A fault of our own account (key, balance, brand) is never a fault of the message: it is tried again, the circuit opens.
"""

import base64
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import formatdate, parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

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

_QUOTA_S = 60.0
_OK, _TOO_MANY = 200, 429
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Call:
    """One POST. Address, headers and body may hold tokens: none is shown."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)

    def json(self) -> dict[str, Any]:
        """The body as an object, empty where it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def _as_json(url: str, body: object, headers: Mapping[str, str]) -> Call:
    told = {"content-type": "application/json", **headers}
    return Call(url, told, json.dumps(body, ensure_ascii=False).encode())


def retry_after(answer: Answer, at: datetime) -> float | None:
    """Read Retry-After, seconds or a date, as seconds from `at`; None where it says nothing usable. A day at most."""
    told = answer.headers.get("retry-after", "").strip()
    if told.isascii() and told.isdigit():
        return min(float(told), _DAY_S)
    try:
        moment = parsedate_to_datetime(told)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - at).total_seconds(), 0.0), _DAY_S)


def _later(answer: Answer, at: datetime) -> RetryAfter:
    return RetryAfter(retry_after(answer, at) or 0)


def _quota(answer: Answer, at: datetime) -> QuotaExceeded:
    seconds = retry_after(answer, at)
    return QuotaExceeded(_QUOTA_S if seconds is None else seconds)


# FCM HTTP v1 -------------------------------------------------------------------------------------------------------

_FCM_SCOPE = "https://www.googleapis.com/auth/firebase.messaging"


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """What we need of Google's file."""

    project: str
    email: str
    private_key: str = field(repr=False)
    token_url: str


def service_account(text: str) -> ServiceAccount:
    """Read Google's file of a service account; KeyError or ValueError where it is none."""
    found = json.loads(text)
    return ServiceAccount(found["project_id"], found["client_email"], found["private_key"], found["token_uri"])


def fcm_token_call(account: ServiceAccount, at: datetime) -> Call:
    """Ask for an access token with a signed assertion (RFC 7523)."""
    claims = {
        "iss": account.email,
        "scope": _FCM_SCOPE,
        "aud": account.token_url,
        "iat": int(at.timestamp()),
        "exp": int(at.timestamp()) + 3600,
    }
    assertion = jwt.encode(claims, account.private_key, algorithm="RS256")
    body = f"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}"
    return Call(account.token_url, {"content-type": "application/x-www-form-urlencoded"}, body.encode())


def fcm_call(base: str, project: str, access_token: str, outgoing: Outgoing) -> Call:
    """Push to one Android or web installation."""
    message = {
        "token": outgoing.to,
        "notification": {"title": outgoing.title, "body": outgoing.text},
        "data": {"message_id": str(outgoing.id), "reference": outgoing.title},
        "android": {"priority": "HIGH" if outgoing.urgent else "NORMAL", "collapse_key": str(outgoing.id)},
    }
    url = f"{base}/v1/projects/{project}/messages:send"
    return _as_json(url, {"message": message}, {"authorization": f"Bearer {access_token}"})


def fcm_answer(answer: Answer, at: datetime) -> Delivery:
    """Read what FCM said."""
    error = answer.json().get("error")
    details = [entry for entry in _list(_dict(error).get("details")) if isinstance(entry, dict)]
    code = next((str(entry["errorCode"]) for entry in details if "errorCode" in entry), "")
    match answer.status:
        case 200 if "name" in answer.json():
            return Accepted()
        case 404 if code == "UNREGISTERED":
            return TokenDead()
        case 403 if code == "SENDER_ID_MISMATCH":
            return TokenDead()
        case 400:
            fields = {
                str(_dict(found).get("field")) for entry in details for found in _list(entry.get("fieldViolations"))
            }
            return TokenDead() if "message.token" in fields else Permanent("fcm_refused")
        case 429:
            return _quota(answer, at)
        case _:
            return _later(answer, at)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


# APNs --------------------------------------------------------------------------------------------------------------

# Apple refuses tokens older than an hour, and a new one more often than every 20 minutes.
APNS_TOKEN_LIFE = timedelta(minutes=45)
_APNS_DEAD = frozenset({"BadDeviceToken", "DeviceTokenNotForTopic", "Unregistered", "ExpiredToken"})


def apns_token(private_key: str, key_id: str, team_id: str, at: datetime) -> str:
    """Sign the token that proves who sends."""
    claims = {"iss": team_id, "iat": int(at.timestamp())}
    return jwt.encode(claims, private_key, algorithm="ES256", headers={"kid": key_id})


def apns_call(base: str, topic: str, provider_token: str, outgoing: Outgoing) -> Call:
    """Push to one Apple device. Its `apns-id` is the delivery's, its collapse id the message's: a repeat replaces."""
    payload = {
        "aps": {"alert": {"title": outgoing.title, "body": outgoing.text}, "sound": "default"},
        "message_id": str(outgoing.id),
        "reference": outgoing.title,
    }
    headers = {
        "authorization": f"bearer {provider_token}",
        "apns-topic": topic,
        "apns-push-type": "alert",
        "apns-id": str(outgoing.delivery_id or outgoing.id),
        "apns-collapse-id": str(outgoing.id),
        "apns-priority": "10" if outgoing.urgent else "5",
    }
    return _as_json(f"{base}/3/device/{outgoing.to}", payload, headers)


def apns_answer(answer: Answer, at: datetime) -> Delivery:
    """Read what APNs said."""
    reason = str(answer.json().get("reason", ""))
    match answer.status:
        case 200:
            return Accepted()
        case 410:
            return TokenDead()
        case 400 if reason in _APNS_DEAD:
            return TokenDead()
        case 400 | 413 | 405:
            return Permanent("apns_refused")
        case 429 if reason == "TooManyProviderTokenUpdates":
            return _quota(answer, at)
        case _:
            return _later(answer, at)


# Web Push ----------------------------------------------------------------------------------------------------------

_RECORD_SIZE = 4096
VAPID_LIFE = timedelta(hours=12)


def unpadded(data: bytes) -> str:
    """Encode as base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def padded(text: str) -> bytes:
    """Decode base64url with or without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def vapid_key(text: str) -> ec.EllipticCurvePrivateKey:
    """Read a private number of 32 bytes in base64url; ValueError where it is none."""
    return ec.derive_private_key(int.from_bytes(padded(text), "big"), ec.SECP256R1())


def public_point(key: ec.EllipticCurvePublicKey) -> bytes:
    """Write a public key as an uncompressed point, 65 bytes."""
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def encrypt(plain: bytes, point: bytes, auth: bytes, *, salt: bytes, ephemeral: ec.EllipticCurvePrivateKey) -> bytes:
    """Encrypt one record for a browser (RFC 8291 by RFC 8188, aes128gcm). Salt and key must be fresh each time."""
    browser = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    own = public_point(ephemeral.public_key())
    shared = ephemeral.exchange(ec.ECDH(), browser)
    secret = _hkdf(shared, auth, b"WebPush: info\x00" + point + own, 32)
    key = _hkdf(secret, salt, b"Content-Encoding: aes128gcm\x00", 16)
    nonce = _hkdf(secret, salt, b"Content-Encoding: nonce\x00", 12)
    header = salt + _RECORD_SIZE.to_bytes(4, "big") + bytes([len(own)]) + own
    return header + AESGCM(key).encrypt(nonce, plain + b"\x02", None)


def _hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def webpush_call(key: ec.EllipticCurvePrivateKey, contact: str, outgoing: Outgoing, at: datetime) -> Call:
    """Push to one browser; `outgoing.to` is its subscription as JSON."""
    subscription = json.loads(outgoing.to)
    endpoint, keys = str(subscription["endpoint"]), subscription["keys"]
    told = {"title": outgoing.title, "body": outgoing.text, "message_id": str(outgoing.id)}
    body = encrypt(
        json.dumps(told, ensure_ascii=False).encode(),
        padded(keys["p256dh"]),
        padded(keys["auth"]),
        salt=os.urandom(16),
        ephemeral=ec.generate_private_key(ec.SECP256R1()),
    )
    parts = urlsplit(endpoint)
    claims = {"aud": f"{parts.scheme}://{parts.netloc}", "exp": int((at + VAPID_LIFE).timestamp()), "sub": contact}
    token = jwt.encode(claims, key, algorithm="ES256")
    headers = {
        "authorization": f"vapid t={token}, k={unpadded(public_point(key.public_key()))}",
        "content-encoding": "aes128gcm",
        "content-type": "application/octet-stream",
        "ttl": str(_DAY_S),
        "urgency": "high" if outgoing.urgent else "normal",
        "topic": unpadded(outgoing.id.bytes),
    }
    return Call(endpoint, headers, body)


def webpush_allowed(outgoing: Outgoing, origins: Sequence[str]) -> bool:
    """Whether a subscription names a push service we may call; asked again at sending, the list may have changed."""
    return push_origin_allowed(str(json.loads(outgoing.to)["endpoint"]), origins)


def webpush_answer(answer: Answer, at: datetime) -> Delivery:
    """Read what a push service said."""
    match answer.status:
        case 200 | 201 | 202:
            return Accepted()
        case 404 | 410:
            return TokenDead()
        case 400 | 413:
            return Permanent("webpush_refused")
        case 429:
            return _quota(answer, at)
        case _:
            return _later(answer, at)


# Zalo ZNS ----------------------------------------------------------------------------------------------------------

# About the person: no such number, no Zalo account, an old app, or they do not want it. Another channel may do.
_ZNS_UNREACHABLE = frozenset({-108, -110, -114, -118, -119, -139, -140, -141})
# About the message: template or its data.
_ZNS_MALFORMED = frozenset({-109, -111, -112, -113, -116, -117, -121, -122, -131, -132, -137, -138})
_ZNS_QUOTA = frozenset({-115, -126, -133, -144, -147})


def zns_call(base: str, access_token: str, template: str, outgoing: Outgoing) -> Call:
    """Send an approved template to a phone; `tracking_id` is the delivery's."""
    told = {
        "phone": "84" + outgoing.to.removeprefix("0"),
        "template_id": template,
        "template_data": {"reference": outgoing.title} if outgoing.code is None else {"otp": outgoing.code},
        "tracking_id": str(outgoing.delivery_id or outgoing.id),
    }
    return _as_json(f"{base}/message/template", told, {"access_token": access_token})


def zns_answer(answer: Answer, at: datetime) -> Delivery:
    """Read what Zalo said: always 200, with a number of its own in the body."""
    if answer.status == _TOO_MANY:
        return _quota(answer, at)
    code = answer.json().get("error")
    if answer.status != _OK or not isinstance(code, int):
        return _later(answer, at)
    if code == 0:
        return Accepted()
    if code in _ZNS_UNREACHABLE:
        return Permanent("zns_unreachable")
    if code in _ZNS_MALFORMED:
        return Permanent("zns_refused")
    return QuotaExceeded(_QUOTA_S) if code in _ZNS_QUOTA else RetryAfter()


# eSMS --------------------------------------------------------------------------------------------------------------

_ESMS_ACCEPTED = frozenset({"100", "124"})  # 124: it has this RequestId already, so an earlier try got through
_ESMS_UNREACHABLE = frozenset({"99", "108", "177"})
_ESMS_MALFORMED = frozenset({"118", "146"})
_ESMS_NO_MONEY = "103"


def esms_call(base: str, key: str, secret: str, brand: str, outgoing: Outgoing) -> Call:
    """Send an SMS of the kind for customers' own matters; eSMS drops a repeated RequestId within 24 hours."""
    told = {
        "ApiKey": key,
        "SecretKey": secret,
        "Brandname": brand,
        "SmsType": "2",
        "IsUnicode": "0" if outgoing.text.isascii() else "1",
        "Phone": outgoing.to,
        "Content": outgoing.text,
        "RequestId": str(outgoing.delivery_id or outgoing.id),
        "Sandbox": "0",
    }
    return _as_json(f"{base}/MainService.svc/json/SendMultipleMessage_V4_post_json/", told, {})


def esms_answer(answer: Answer, at: datetime) -> Delivery:
    """Read what eSMS said: always 200, with a number of its own in the body."""
    if answer.status == _TOO_MANY:
        return _quota(answer, at)
    code = str(answer.json().get("CodeResult", ""))
    if answer.status != _OK or not code:
        return _later(answer, at)
    if code in _ESMS_ACCEPTED:
        return Accepted()
    if code in _ESMS_UNREACHABLE:
        return Permanent("sms_unreachable")
    if code in _ESMS_MALFORMED:
        return Permanent("sms_refused")
    return QuotaExceeded(_QUOTA_S) if code == _ESMS_NO_MONEY else RetryAfter()


# SMTP --------------------------------------------------------------------------------------------------------------

_PASSING = range(400, 500)


def mail(sender: str, outgoing: Outgoing, at: datetime) -> EmailMessage:
    """Write the letter; its Message-ID is the delivery's, so that a mailbox may drop a repeat."""
    letter = EmailMessage()
    letter["From"], letter["To"] = sender, outgoing.to
    letter["Subject"] = outgoing.title or "phananh"
    letter["Date"] = formatdate(at.timestamp())
    letter["Message-ID"] = f"<{outgoing.delivery_id or outgoing.id}@{sender.rpartition('@')[2].rstrip('>')}>"
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(outgoing.text)
    return letter


def mail_refused(status: int) -> Delivery:
    """Read the status with which a mail server refused the recipient or the letter."""
    return RetryAfter() if status in _PASSING else Permanent("mail_refused")


# Who fails is left alone -------------------------------------------------------------------------------------------

_FAILURES = 5
_FIRST_REST, _LONGEST_REST = timedelta(seconds=10), timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Circuit:
    """How a provider has been doing: failures in a row, and until when it is left alone."""

    failures: int = 0
    rests_until: datetime | None = None

    def rest(self, at: datetime) -> float:
        """Seconds from `at` for which it is not asked; 0 when it may be."""
        return max(0.0, (self.rests_until - at).total_seconds()) if self.rests_until else 0.0

    def after(self, delivery: Delivery, at: datetime) -> "Circuit":
        """Count an answer. From the fifth failure in a row on it rests: 10 s, and twice as long each time up to 5 min.

        One try ends each rest. A used-up allowance rests as long as the provider says, and is no failure.
        """
        match delivery:
            case QuotaExceeded(seconds):
                return Circuit(self.failures, at + timedelta(seconds=seconds))
            case RetryAfter():
                failures = self.failures + 1
                beyond = min(failures - _FAILURES, 16)
                rest = min(_FIRST_REST * 2**beyond, _LONGEST_REST) if beyond >= 0 else None
                return Circuit(failures, at + rest if rest else None)
            case NotAsked():
                return self
            case _:
                return Circuit()
