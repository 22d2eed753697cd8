"""Whether what people open all day stays quick when the province has a million reports behind it."""

import http.client
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import UUID, uuid4

from app.core.db import transaction
from app.identity.actions import create_staff, hash_password
from app.identity.policy import Grant
from app.identity.rules import Role
from benchmarks import histories, reports, system
from benchmarks.rows import Row
from benchmarks.system import Api, System
from tools.verify import problems

SMALL, LARGE = 10_000, 1_000_000
ASKED, WARM = 300, 30
MOST_MS, MOST_GROWTH = 30.0, 1.3
MOST_WRITING_S = 900
PASSWORD = "một mật khẩu đủ dài"


@dataclass(frozen=True, slots=True)
class Question:
    """Something people ask: as whom, and a request that differs each time."""

    what: str
    token: str
    ask: Callable[[random.Random], tuple[str, str, bytes | None]]


def rows(*, quick: bool) -> Iterator[Row]:
    """Each question at ten thousand reports and at a million, on a system of its own."""
    small, large = (2_000, 20_000) if quick else (SMALL, LARGE)
    with system.started() as running:
        histories.write(running, small)
        with transaction() as session:
            if found := problems(session):
                raise RuntimeError(f"what was written is not sound: {found[:3]}")
        api = running.api()
        asked = questions(running, api)
        first = {each.what: _p95(api, each) for each in asked}
        started = time.monotonic()
        histories.write(running, large - small)
        took = time.monotonic() - started
        held = dict(histories.counts(running))
        what = f"writing {large - small:,} reports, {held['case_event']:,} events with those before"
        yield Row(what, f"{took:.0f} s", "", "", "minutes", took <= MOST_WRITING_S)
        for each in asked:
            p95, before = _p95(api, each), first[each.what]
            yield Row(
                f"{each.what}: p95 at {large:,} reports",
                f"{p95:.1f} ms",
                f"{before:.1f} ms at {small:,}",
                f"{p95 / before:.2f}",
                f"≤ {MOST_MS:.0f} ms, ≤ {MOST_GROWTH}",
                p95 <= MOST_MS and p95 / before <= MOST_GROWTH,
            )


def questions(running: System, api: Api) -> list[Question]:
    """What is asked; staff accounts for it are made here."""
    (unit_id,) = running.rows(
        "SELECT unit_id FROM case_file WHERE unit_id IS NOT NULL GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"
    )[0]
    officer = _staff(api, Role.OFFICER, UUID(str(unit_id)))
    dispatcher = _staff(api, Role.DISPATCHER, None)
    cases = [str(row[0]) for row in running.rows("SELECT id FROM case_file ORDER BY md5(id::text) LIMIT 500")]

    def map_view(chance: random.Random) -> tuple[str, str, None]:
        lat, lon = next(reports.points(1, chance))
        box = ",".join(f"{edge:.4f}" for edge in (lon - 0.03, lat - 0.03, lon + 0.03, lat + 0.03))
        return "GET", f"/v1/reports?{urlencode({'bbox': box, 'limit': 100})}", None

    return [
        Question("worklist page of a unit", officer, lambda _: ("GET", "/v1/cases?queue=worklist", None)),
        Question("worklist page of the province", dispatcher, lambda _: ("GET", "/v1/cases?queue=worklist", None)),
        Question("page of resolved cases", officer, lambda _: ("GET", "/v1/cases?queue=resolved", None)),
        Question("case page", dispatcher, lambda chance: ("GET", f"/v1/cases/{chance.choice(cases)}", None)),
        Question("public map view", "", map_view),
    ]


def _staff(api: Api, role: Role, unit_id: UUID | None) -> str:
    """The token of a new member of staff, signed in as people are."""
    email = f"{role.value}@example.vn"
    secret = hash_password(PASSWORD)
    with transaction() as session:
        create_staff(
            session, email=email, password_hash=secret, name="Cán bộ", grants=[Grant(role, unit_id)], actor_id=None
        )
    connection = http.client.HTTPConnection(*api.address, timeout=30)
    body = json.dumps({"email": email, "password": PASSWORD}).encode()
    _, answer = _answer(connection, "POST", "/v1/auth/staff-sessions", body, "")
    connection.close()
    return str(json.loads(answer)["access_token"])


def _p95(api: Api, question: Question) -> float:
    """Milliseconds from the first byte sent to the last received, on one connection, one after the other."""
    chance = random.Random(7)
    connection = http.client.HTTPConnection(*api.address, timeout=30)
    taken = []
    for number in range(WARM + ASKED):
        method, path, body = question.ask(chance)
        started = time.perf_counter()
        status, answer = _answer(connection, method, path, body, question.token)
        if status != http.HTTPStatus.OK:
            raise RuntimeError(f"{question.what}: {status} {answer[:300]!r}")
        if number >= WARM:
            taken.append(1000 * (time.perf_counter() - started))
    connection.close()
    return statistics.quantiles(taken, n=20)[-1]


def _answer(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, token: str
) -> tuple[int, bytes]:
    headers: Mapping[str, str] = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers = {**headers, "Content-Type": "application/json", "Idempotency-Key": str(uuid4())}
    connection.request(method, path, body, dict(headers))
    answer = connection.getresponse()
    return answer.status, answer.read()
