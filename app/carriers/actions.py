"""Handing messages to carriers: one line out per process, every delivery within its time, who fails is left alone."""

import asyncio
import logging
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

import httpx2
import structlog

from app.carriers import rules
from app.carriers.rules import Answer, Call, Circuit
from app.core import clock
from app.core.config import Settings, settings
from app.notifications.actions import console
from app.notifications.rules import (
    HOP_TIMEOUT,
    TEMPLATES,
    Accepted,
    Carrier,
    Delivery,
    NotAsked,
    Notifier,
    Outgoing,
    Permanent,
    RetryAfter,
    TokenDead,
    UnknownMessageError,
)

log = structlog.get_logger("carriers")
# They write every address they call, and ours hold tokens.
for _name in ("httpx2", "httpcore2", "hpack", "h2"):
    logging.getLogger(_name).setLevel(logging.WARNING)

_ANSWER_BYTES = 64 * 1024
_TOKEN_MARGIN_S = 300.0
_FAREWELL_S = 0.2
_REFUSED = (401, 403)


class Line:
    """The way out of this process. Connections are kept; every call ends within its time, however slowly one drips."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runner = asyncio.Runner()
        # Made once, because loading the certificates takes a good part of a delivery's time.
        self._certificates = httpx2.create_ssl_context()
        self._clients = {http2: self._client(http2=http2) for http2 in (False, True)}

    def _client(self, *, http2: bool) -> httpx2.AsyncClient:
        """A client with connections of its own. Without HTTP/1 nothing is negotiated: APNs speaks HTTP/2 only."""
        seconds = HOP_TIMEOUT.total_seconds()
        return httpx2.AsyncClient(http1=not http2, http2=http2, timeout=seconds, verify=self._certificates)

    def ask(self, call: Call, until: float, *, http2: bool = False) -> Answer:
        """POST, and read the answer before the monotonic moment `until`; TimeoutError or TransportError otherwise."""
        with self._lock:
            return self._runner.run(self._ask(call, until - time.monotonic(), http2))

    async def _ask(self, call: Call, left_s: float, http2: bool) -> Answer:
        try:
            async with asyncio.timeout(left_s):
                return await self._answer(call, http2)
        except (TimeoutError, httpx2.TimeoutException):
            if http2:
                # All calls share its one connection, which may be half-open: nobody would ever be answered on it.
                lost, self._clients[http2] = self._clients[http2], self._client(http2=True)
                with suppress(TimeoutError, httpx2.HTTPError, OSError):
                    async with asyncio.timeout(_FAREWELL_S):
                        await lost.aclose()
            raise

    async def _answer(self, call: Call, http2: bool) -> Answer:
        # A redirect is not followed: it would carry our keys to an address nobody configured.
        request = self._clients[http2].stream("POST", call.url, headers=dict(call.headers), content=call.body)
        async with request as response:
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _ANSWER_BYTES:
                    raise httpx2.RemoteProtocolError("an answer without end")
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status_code, headers, bytes(body))

    def close(self) -> None:
        """Close the connections kept."""
        with self._lock:
            for client in self._clients.values():
                self._runner.run(client.aclose())
            self._runner.close()


@dataclass
class Guarded:
    """A carrier with its time limit and its circuit: an error is a failed try, and one that keeps failing rests."""

    name: Carrier
    carry: Callable[[Outgoing, float], Delivery]
    circuit: Circuit = field(default_factory=Circuit)

    def send(self, outgoing: Outgoing) -> Delivery:
        """Hand one message over, unless the carrier is being left alone."""
        rest = self.circuit.rest(clock.now())
        if rest:
            return NotAsked(rest)
        try:
            delivery = self.carry(outgoing, time.monotonic() + HOP_TIMEOUT.total_seconds())
        except (httpx2.HTTPError, OSError, smtplib.SMTPException) as error:
            # The type alone: the text may quote an address, and those hold tokens.
            log.warning("carrier_failed", carrier=self.name, error=type(error).__name__)
            delivery = RetryAfter()
        self.circuit = self.circuit.after(delivery, clock.now())
        if self.circuit.rests_until is not None:
            log.error("carrier_rests", carrier=self.name, until=self.circuit.rests_until.isoformat())
        return delivery


@dataclass
class _Kept:
    """A token of ours with the moment until which it serves."""

    value: str
    until: datetime


class Fcm:
    """Firebase Cloud Messaging, HTTP v1."""

    def __init__(self, line: Line, base: str, credentials: Path) -> None:
        self._line, self._base = line, base
        self._account = rules.service_account(credentials.read_text())
        self._token: _Kept | None = None

    def carry(self, outgoing: Outgoing, until: float) -> Delivery:
        """Push to one installation, with an access token fetched when the last one has run out."""
        at = clock.now()
        if self._token is None or self._token.until <= at:
            answer = self._line.ask(rules.fcm_token_call(self._account, at), until)
            told = answer.json()
            if answer.status != httpx2.codes.OK or not isinstance(told.get("access_token"), str):
                log.error("carrier_refused_us", carrier="fcm", status=answer.status)
                return RetryAfter()
            life = max(0.0, float(told.get("expires_in", 0)) - _TOKEN_MARGIN_S)
            self._token = _Kept(told["access_token"], at + timedelta(seconds=life))
        call = rules.fcm_call(self._base, self._account.project, self._token.value, outgoing)
        answer = self._line.ask(call, until)
        if answer.status in _REFUSED:
            self._token = None
        return rules.fcm_answer(answer, at)


class Apns:
    """Apple's push service over HTTP/2, with a token signed by our key."""

    def __init__(self, line: Line, configured: Settings, key: str) -> None:
        self._line, self._settings, self._key = line, configured, key
        self._token: _Kept | None = None

    def carry(self, outgoing: Outgoing, until: float) -> Delivery:
        """Push to one device."""
        at, told = clock.now(), self._settings
        if self._token is None or self._token.until <= at:
            signed = rules.apns_token(self._key, told.apns_key_id, told.apns_team_id, at)
            self._token = _Kept(signed, at + rules.APNS_TOKEN_LIFE)
        call = rules.apns_call(told.apns_url, told.apns_topic, self._token.value, outgoing)
        answer = self._line.ask(call, until, http2=True)
        if answer.status in _REFUSED:
            log.error("carrier_refused_us", carrier="apns", status=answer.status)
            self._token = None
        return rules.apns_answer(answer, at)


def _webpush(line: Line, configured: Settings) -> Callable[[Outgoing, float], Delivery]:
    key = rules.vapid_key(configured.webpush_key.get_secret_value())

    def carry(outgoing: Outgoing, until: float) -> Delivery:
        if not rules.webpush_allowed(outgoing, configured.webpush_origins):
            return Permanent("push_service_unknown")
        at = clock.now()
        try:
            call = rules.webpush_call(key, configured.webpush_contact, outgoing, at)
        except ValueError:  # its key is a point on no curve: nothing can ever be encrypted for it
            return TokenDead()
        return rules.webpush_answer(line.ask(call, until), at)

    return carry


def _zns(line: Line, configured: Settings, token_file: Path) -> Callable[[Outgoing, float], Delivery]:
    if unknown := configured.zns_templates.keys() - TEMPLATES.keys():
        raise UnknownMessageError(f"PHANANH_ZNS_TEMPLATES names {sorted(unknown)}: there are no such messages")

    def carry(outgoing: Outgoing, until: float) -> Delivery:
        template = configured.zns_templates.get(outgoing.template)
        if template is None:
            return Permanent("zns_without_template")
        # Read each time: whoever refreshes the token, which lives for a day, replaces the file.
        token = token_file.read_text().strip()
        return rules.zns_answer(
            line.ask(rules.zns_call(configured.zns_url, token, template, outgoing), until), clock.now()
        )

    return carry


def _esms(line: Line, configured: Settings) -> Callable[[Outgoing, float], Delivery]:
    def carry(outgoing: Outgoing, until: float) -> Delivery:
        secret = configured.esms_secret.get_secret_value()
        call = rules.esms_call(configured.esms_url, configured.esms_key, secret, configured.esms_brand, outgoing)
        return rules.esms_answer(line.ask(call, until), clock.now())

    return carry


class _Cuttable:
    """A dialogue that can be ended from outside, its greeting included."""

    sock: socket.socket | None = None

    def cut(self) -> None:
        """Make whatever waits for this server fail now."""
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


class _Smtp(_Cuttable, smtplib.SMTP):
    def __init__(self, told: Settings, timer: Callable[["_Smtp"], None]) -> None:
        timer(self)
        super().__init__(told.smtp_host, told.smtp_port, timeout=HOP_TIMEOUT.total_seconds())


class _SmtpTls(_Cuttable, smtplib.SMTP_SSL):
    def __init__(self, told: Settings, timer: Callable[["_SmtpTls"], None]) -> None:
        timer(self)
        context = ssl.create_default_context()
        super().__init__(told.smtp_host, told.smtp_port, timeout=HOP_TIMEOUT.total_seconds(), context=context)


def _smtp(configured: Settings) -> Callable[[Outgoing, float], Delivery]:
    def carry(outgoing: Outgoing, until: float) -> Delivery:
        """Hand one letter over; a timer cuts the dialogue when it takes too long as a whole."""
        timers: list[threading.Timer] = []

        def bound(server: _Cuttable) -> None:
            timer = threading.Timer(max(0.0, until - time.monotonic()), server.cut)
            timer.daemon = True
            timer.start()
            timers.append(timer)

        try:
            return _dialogue(configured, outgoing, bound)
        except smtplib.SMTPRecipientsRefused as error:
            ((status, _),) = error.recipients.values()
            return rules.mail_refused(status)
        except smtplib.SMTPDataError as error:
            return rules.mail_refused(error.smtp_code)
        finally:
            for timer in timers:
                timer.cancel()

    return carry


def _dialogue(told: Settings, outgoing: Outgoing, bound: Callable[[_Cuttable], None]) -> Delivery:
    server = _SmtpTls(told, bound) if told.smtp_security == "tls" else _Smtp(told, bound)
    try:
        if told.smtp_security == "starttls":
            server.starttls(context=ssl.create_default_context())
        if told.smtp_user:
            server.login(told.smtp_user, told.smtp_password.get_secret_value())
        server.send_message(rules.mail(told.smtp_from, outgoing, clock.now()))
        # It has the letter: whatever goes wrong from here on must not send it a second time.
        with suppress(smtplib.SMTPException, OSError):
            server.quit()
        return Accepted()
    finally:
        server.close()


Fleet = Mapping[Carrier, Notifier]


def build(configured: Settings, line: Line) -> Fleet:
    """Set up every carrier that is configured; a file that cannot be read, or a message unknown to us, raises."""
    made: dict[Carrier, Callable[[Outgoing, float], Delivery]] = {}
    if configured.fcm_credentials:
        made["fcm"] = Fcm(line, configured.fcm_url, configured.fcm_credentials).carry
    if configured.apns_key_file:
        made["apns"] = Apns(line, configured, configured.apns_key_file.read_text()).carry
    if configured.webpush_key.get_secret_value():
        made["webpush"] = _webpush(line, configured)
    if configured.zns_token_file:
        made["zns"] = _zns(line, configured, configured.zns_token_file)
    if configured.esms_key:
        made["esms"] = _esms(line, configured)
    if configured.smtp_host:
        made["smtp"] = _smtp(configured)
    return {name: Guarded(name, carry) for name, carry in made.items()}


@lru_cache
def fleet() -> Fleet:
    """Give the carriers of this process, as PHANANH_NOTIFIER says; set up once."""
    if settings().notifier == "console":
        return {"console": console()}
    return build(settings(), Line())
