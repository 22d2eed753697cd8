"""Asking an own geocoder for a street: bounded in time and size, kept for a while, and left alone while it fails."""

import json
import ssl
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from http.client import HTTPException
from queue import Empty, SimpleQueue
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

import structlog
from geopy.adapters import AdapterHTTPError, BaseSyncAdapter
from geopy.distance import geodesic
from geopy.exc import GeocoderParseError, GeocoderUnavailable, GeopyError
from geopy.geocoders.nominatim import Nominatim
from sqlalchemy import text

from app.addresses import queries
from app.addresses.queries import KEPT_FOR, Address, cell_of
from app.addresses.rules import Breaker
from app.core import clock
from app.core import text as words
from app.core.config import settings
from app.core.db import Session, transaction

TIMEOUT_S = 1.5
AT_A_TIME = 4
MAX_ANSWER_BYTES = 64 * 1024
MAX_KEPT = 50_000
_LONGEST = 200
_FAR_M = 500.0
log = structlog.get_logger("addresses")


def describe(lat: float, lon: float, at: datetime) -> Address:
    """Where a point (degrees) was at a moment: our own data, and the street from an own geocoder where one is set up.

    Never inside a transaction: the geocoder is asked between two short ones. What it does or fails to do delays the
    answer by at most 1.5 seconds.
    """
    with transaction() as session:
        address = queries.describe(session, lat, lon, at)
        known = queries.known_street(session, lat, lon)
    geocoder = _geocoder(settings().geocoder_url)
    if geocoder is None or known is not None:
        return address
    street = geocoder.street(lat, lon)
    if street is None:
        return address
    with transaction() as session:
        _keep(session, cell_of(lat, lon), street)
        return queries.describe(session, lat, lon, at)


def _keep(session: Session, cell: str, street: str) -> None:
    """Remember an answer, and forget what is too old or too much."""
    now = clock.now()
    session.execute(
        text(
            "INSERT INTO address_answer (cell, street, answered_at) VALUES (:cell, :street, :now)"
            " ON CONFLICT (cell) DO UPDATE SET street = excluded.street, answered_at = excluded.answered_at"
        ),
        {"cell": cell, "street": street, "now": now},
    )
    session.execute(
        text(
            "DELETE FROM address_answer WHERE answered_at < :old OR answered_at <"
            " (SELECT answered_at FROM address_answer ORDER BY answered_at DESC OFFSET :kept LIMIT 1)"
        ),
        {"old": now - KEPT_FOR, "kept": MAX_KEPT - 1},
    )


@lru_cache(maxsize=2)
def _geocoder(url: str) -> "Geocoder | None":
    return Geocoder(url) if url else None


class Geocoder:
    """A Nominatim-compatible server of one's own."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url.rstrip("/"))
        self._nominatim = Nominatim(
            domain=parts.netloc + parts.path,
            scheme=parts.scheme,
            user_agent="phananh",
            timeout=TIMEOUT_S,
            proxies={},
            adapter_factory=_Adapter,
        )
        self.breaker = Breaker()
        self._room = threading.BoundedSemaphore(AT_A_TIME)

    def street(self, lat: float, lon: float) -> str | None:
        """House number and street at a point, empty where there is none; None when the geocoder cannot say now."""
        if not self._room.acquire(blocking=False):
            return None
        if not self.breaker.allows(time.monotonic()):
            self._room.release()
            return None
        found: SimpleQueue[str | None] = SimpleQueue()
        # A thread, because a server that sends a byte a second never trips the time-out of its socket.
        threading.Thread(target=self._ask, args=(lat, lon, found), daemon=True).start()
        try:
            street = found.get(timeout=TIMEOUT_S)
        except Empty:
            street = None
            log.warning("geocoder_failed", error="too slow")
        self.breaker.ended(time.monotonic(), well=street is not None)
        return street

    def _ask(self, lat: float, lon: float, found: "SimpleQueue[str | None]") -> None:
        try:
            found.put(_street_of(self._nominatim.reverse((lat, lon), language="vi", zoom=18), lat, lon))
        except (GeopyError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            log.warning("geocoder_failed", error=type(error).__name__)  # without the place: it may be personal
            found.put(None)
        finally:
            self._room.release()


def _street_of(location: Any, lat: float, lon: float) -> str:
    """The street of an answer; empty where it names none, or something far away. Rubbish raises."""
    if location is None:
        return ""
    if geodesic((lat, lon), (location.latitude, location.longitude)).m > _FAR_M:
        return ""
    address = location.raw["address"]
    if not isinstance(address, Mapping):
        raise TypeError("address")
    parts = [str(address[name]) for name in ("house_number", "road") if address.get(name)]
    return words.clean(" ".join(parts))[:_LONGEST] if address.get("road") else ""


class _NoRedirect(HTTPRedirectHandler):
    """A place that somebody reports from goes to our own server and nowhere else."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        """Follow no redirect: the answer is then an error."""


class _Adapter(BaseSyncAdapter):  # type: ignore[misc] # geopy has no types
    """Reads bounded answers, by no proxy and no redirect."""

    def __init__(self, *, proxies: object, ssl_context: ssl.SSLContext) -> None:
        super().__init__(proxies=proxies, ssl_context=ssl_context)
        self._open = build_opener(ProxyHandler({}), HTTPSHandler(context=ssl_context), _NoRedirect).open

    def get_json(self, url: str, *, timeout: float, headers: Mapping[str, str]) -> Any:
        """The answer as JSON."""
        return json.loads(self.get_text(url, timeout=timeout, headers=headers))

    def get_text(self, url: str, *, timeout: float, headers: Mapping[str, str]) -> str:
        """The answer as text; geopy's own errors for everything that goes wrong."""
        try:
            with self._open(Request(url, headers=dict(headers)), timeout=timeout) as page:  # noqa: S310 - http(s) by config
                data = page.read(MAX_ANSWER_BYTES + 1)
        except HTTPError as error:
            raise AdapterHTTPError(str(error), status_code=error.code, headers={}, text="") from error
        except (OSError, HTTPException) as error:
            raise GeocoderUnavailable(type(error).__name__) from error
        if len(data) > MAX_ANSWER_BYTES:
            raise GeocoderParseError("the answer is too large")
        return str(data, "utf-8")
