"""Writes months of cases by COPY, with the histories, hops, clocks and messages that the workflow table makes of them.

What is written passes `tools.verify`: it differs from lived cases in nothing but in how it came.
"""

import multiprocessing
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from app.cases import rules
from app.cases.rules import State
from app.catalog.queries import catalogue
from app.catalog.rules import Category
from app.core import clock, ids
from app.core.db import Session, transaction
from app.deadlines import queries as deadlines
from app.deadlines.rules import ClockKind, Duration, WorkingCalendar, breach, due, verdict
from app.orgunits.queries import directory
from app.reports.schemas import LocationIn, ReportIn, evidence_text
from benchmarks.reports import points
from benchmarks.system import System, citizens

SINCE = datetime(2025, 7, 14, 1, tzinfo=UTC)
PEOPLE = 20_000
PROCESSES = 2
CHUNK = 2000
CATEGORIES = (
    "o_ga",
    "den_duong",
    "via_he",
    "rac_ton_dong",
    "cong_tac",
    "karaoke_tieng_on",
    "do_trom_rac",
    "lan_chiem_via_he",
)

# What happens after submission, how long after what came before (hours, on average), and how often of a hundred.
LIVES: tuple[tuple[int, tuple[tuple[str, float], ...]], ...] = (
    (46, (("publish", 1), ("accept", 5), ("resolve", 40), ("close", 240))),
    (18, (("accept", 5), ("publish", 3), ("start", 8), ("resolve", 60), ("confirm", 30), ("rate", 1))),
    (12, (("accept", 8), ("message", 6), ("resolve", 90), ("close", 240))),
    (7, (("return", 6), ("assign", 5), ("accept", 5), ("resolve", 50), ("close", 240))),
    (6, (("accept", 5), ("resolve", 30), ("reopen", 60), ("accept", 5), ("resolve", 70), ("close", 240))),
    (4, (("transfer", 9), ("accept", 5), ("publish", 2), ("resolve", 40), ("close", 240))),
    (4, (("reject", 6),)),
    (3, (("withdraw", 3),)),
)
CODES = {"resolve": "fixed", "reject": "spam", "rate": "satisfied"}
NOTES = {
    "resolve": "Đã xử lý xong, mời người dân kiểm tra.",
    "reject": "Nội dung không thuộc phạm vi tiếp nhận.",
    "reopen": "Vẫn chưa được khắc phục.",
    "return": "Không thuộc địa bàn.",
    "transfer": "Chuyển đơn vị bên cạnh.",
    "message": "Chúng tôi sẽ đến trong tuần này.",
}
BY_CITIZEN = frozenset({"confirm", "rate", "withdraw", "reopen"})
BY_SYSTEM = frozenset({"close"})
WORDS = (
    "Ổ gà sâu giữa đường, xe máy đi buổi tối rất dễ ngã",
    "Đèn đường hỏng đã hai tuần, cả xóm tối om",
    "Rác dồn đống trước cổng trường, mùi rất khó chịu",
    "Cống tắc, mưa xuống là ngập vào nhà dân",
    "Hàng quán lấn hết vỉa hè, người đi bộ phải xuống lòng đường",
    "Hát karaoke quá mười giờ đêm, nhắc nhiều lần không nghe",
    "Gạch vỉa hè bong tróc, người già dễ vấp ngã",
    "Đổ trộm phế thải xây dựng cạnh mương nước",
)
STREETS = ("Hoàng Văn Thụ", "Lương Ngọc Quyến", "Bến Tượng", "Phan Đình Phùng", "Cách Mạng Tháng Tám", "Quang Trung")

COLUMNS = {
    "report": "id account_id category_code channel visibility hide_name allow_call received_at request_hash",
    "report_content": "report_id description lat lon accuracy_m address nonce",
    "case_file": "id report_id reference category_code urgency channel state version cycle unit_id commune_id"
    " boundary_version_id route_reason received_at updated_at act_by due_at resolved_at published_at outcome"
    " reject_code rating head rejected_at state_before",
    "case_event": "case_id seq at verb from_state to_state actor_kind actor_id unit_id commune_id cycle category_code"
    " urgency channel code due_at commitment body hash",
    "case_text": "case_id seq body nonce",
    "case_hop": "case_id started_seq cycle unit_id received_at due_at accepted_at ended_at outcome",
    "sla_clock": "case_id kind started_seq cycle unit_id policy_id started_at due_at stopped_at met breached_at",
    "public_copy": "report_id description lat lon published_at",
    "message": "id dedupe_key account_id case_id template params state sent_at created_at",
}
Rows = dict[str, list[Sequence[Any]]]


class Known(NamedTuple):
    """What the province says, read once by each process."""

    calendar: WorkingCalendar
    allowed: dict[tuple[str, ClockKind], tuple[UUID, Duration]]
    categories: list[Category]
    communes: list[UUID]
    boundaries: UUID
    people: Sequence[UUID]


def write(system: System, reports: int) -> None:
    """Add `reports` cases received from SINCE until now, spread evenly; in two processes, as the superuser."""
    people = citizens(system, PEOPLE)
    share = reports // PROCESSES
    before = int(str(system.ask("SELECT count(*) FROM report")))
    spawn = multiprocessing.get_context("spawn")
    started = [
        spawn.Process(
            target=_write, args=(system.postgres.superuser_url, people, share, before + seed, dict(os.environ))
        )
        for seed in range(PROCESSES)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
        if process.exitcode:
            raise RuntimeError("histories were not written")
    for table in COLUMNS:
        system.run(f"VACUUM (ANALYZE) {table}")


def _write(url: str, people: Sequence[UUID], reports: int, seed: int, environment: dict[str, str]) -> None:
    os.environ |= environment
    chance = random.Random(seed)
    with transaction() as session:
        known = _known(session, people)
    now = clock.now()
    step = (now - SINCE) / reports
    where = points(reports, chance)
    with psycopg.connect(url) as connection:
        # References are sound by making; looking each one up again would take longer than writing the rows.
        connection.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        for first in range(0, reports, CHUNK):
            rows: Rows = {table: [] for table in COLUMNS}
            for number in range(first, min(first + CHUNK, reports)):
                life = _Life(known, chance, SINCE + step * number, now, next(where))
                for table, more in life.live().items():
                    rows[table].extend(more)
            _copy(connection, rows)
            connection.commit()


def _known(session: Session, people: Sequence[UUID]) -> Known:
    catalogue_now = catalogue(session)
    categories = [category for code in CATEGORIES if (category := catalogue_now.category(code))]
    kinds: tuple[ClockKind, ...] = ("verify", *rules.ASSIGN_CLOCKS)
    policies = {
        (category.code, kind): deadlines.policy_for(session, category.code, kind, SINCE)
        for category in categories
        for kind in kinds
    }
    today = clock.local_day(clock.now())
    (version,) = session.connection().exec_driver_sql(
        "SELECT id FROM boundary_version WHERE accuracy = 'surveyed' ORDER BY effective_from DESC LIMIT 1"
    )
    return Known(
        deadlines.calendar(session),
        {key: (policy.id, policy.duration) for key, policy in policies.items()},
        categories,
        [unit.id for unit in directory(session).communes(today)],
        version[0],
        people,
    )


def _copy(connection: psycopg.Connection, rows: Rows) -> None:
    for table, columns in COLUMNS.items():
        with connection.cursor().copy(f"COPY {table} ({', '.join(columns.split())}) FROM STDIN") as copy:
            for row in rows[table]:
                copy.write_row(row)


@dataclass(slots=True)
class _Life:
    """One case, told by the workflow table from its submission until now."""

    known: Known
    chance: random.Random
    received_at: datetime
    now: datetime
    point: tuple[float, float]
    case: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    clocks: list[dict[str, Any]] = field(default_factory=list)
    hops: list[dict[str, Any]] = field(default_factory=list)
    texts: list[Sequence[Any]] = field(default_factory=list)
    messages: list[Sequence[Any]] = field(default_factory=list)

    def live(self) -> Rows:
        """Live it; what is stored of it, by table."""
        category = self.chance.choice(self.known.categories)
        nonce = self.chance.randbytes(rules.NONCE_BYTES)
        said = ReportIn.model_construct(
            id=UUID(int=self.chance.getrandbits(128), version=4),
            category=category.code,
            description=self._text(),
            location=LocationIn(lat=self.point[0], lon=self.point[1], accuracy_m=8),
            address=f"Số {self.chance.randrange(1, 400)} đường {self.chance.choice(STREETS)}",
        )
        self.case = {
            "id": ids.uuid7(self.received_at), "report_id": said.id, "reference": ids.reference(),
            "category_code": category.code, "urgency": category.urgency, "channel": "app", "cycle": 1, "version": 0,
            "received_at": self.received_at, "act_by": self.received_at, "due_at": None, "head": rules.GENESIS,
            "account_id": self.chance.choice(self.known.people), "unit_id": None, "commune_id": None,
        }  # fmt: skip
        self._submit(category, rules.commit_to(nonce, evidence_text(said)))
        self._lead_on()
        return self._rows(said, nonce)

    def _text(self) -> str:
        return f"{self.chance.choice(WORDS)}. {self.chance.choice(WORDS)}. Đã {self.chance.randrange(2, 60)} ngày nay."

    def _submit(self, category: Category, commitment: bytes) -> None:
        state = State.ROUTING if category.trusted else State.VERIFYING
        if state == State.VERIFYING:
            self.case["act_by"] = self._start("verify", self.received_at)
        self._event("submit", None, state, self.received_at, "citizen", None, commitment)

    def _lead_on(self) -> None:
        at = self.received_at
        first = [("verify", 3.0)] if self.case["state"] == State.VERIFYING else []
        (chosen,) = self.chance.choices([life for _, life in LIVES], [often for often, _ in LIVES])
        for verb, hours in (*first, ("assign", 0.0005), *chosen):
            at += timedelta(hours=self.chance.expovariate(1 / hours))
            if at >= self.now:
                return
            self._move(verb, at)

    def _move(self, verb: str, at: datetime) -> None:
        case = self.case
        rule = rules.rule_for(case["state"], verb)
        assert rule is not None, (case["state"], verb)
        by_system = verb in BY_SYSTEM or rule.source == State.ROUTING
        kind = "citizen" if verb in BY_CITIZEN else "system" if by_system else "staff"
        if verb == "reopen":
            case |= {"cycle": case["cycle"] + 1, "outcome": None, "rating": None}
        for running in self.clocks:
            if running["stopped_at"] is None and (rule.stops == rules.ALL or running["kind"] in rule.stops):
                met = verdict(running["due_at"], at)
                running |= {"stopped_at": at, "met": met, "breached_at": breach(running["due_at"], at)}
        if verb in ("assign", "transfer"):
            case["unit_id"] = self.chance.choice(self.known.communes)
            case["commune_id"] = case["commune_id"] or case["unit_id"]
        self._start_all(rule, at)
        self._hop(rule, at)
        if verb == "return":
            case["unit_id"] = None
        target = State(rules.goal(rule, case.get("state_before")))
        if rule.target is not None:
            self._stand(target, at)
        self._note(verb, at)
        nonce, note = self.chance.randbytes(rules.NONCE_BYTES), NOTES.get(verb)
        commitment = rules.commit_to(nonce, note) if note else None
        self._event(verb, rule.source, target, at, kind, CODES.get(verb), commitment)
        if note:
            self.texts.append((case["id"], case["version"], note, nonce))
        if template := rules.tells(verb, kind):
            key = f"{case['id']}:{case['version']}"
            params = Jsonb({"reference": case["reference"], "status": case["state"]})
            told = (ids.uuid7(at), key, case["account_id"], case["id"], template, params, "sent", at, at)
            self.messages.append(told)

    def _start_all(self, rule: rules.Rule, at: datetime) -> None:
        has_run = {each["kind"] for each in self.clocks if each["cycle"] == self.case["cycle"]}
        started = {kind: self._start(kind, at) for kind in rule.starts if kind == "accept" or kind not in has_run}
        self.case["due_at"] = started.get("resolve", self.case["due_at"])
        if "accept" in started:
            self.case["act_by"] = min(started["accept"], self.case["due_at"] or started["accept"])

    def _start(self, kind: ClockKind, at: datetime) -> datetime:
        policy_id, duration = self.known.allowed[self.case["category_code"], kind]
        due_at = due(self.known.calendar, at, duration)
        self.clocks.append({
            "case_id": self.case["id"], "kind": kind, "started_seq": self.case["version"] + 1,
            "cycle": self.case["cycle"], "unit_id": self.case["unit_id"], "policy_id": policy_id, "started_at": at,
            "due_at": due_at, "stopped_at": None, "met": None, "breached_at": None,
        })  # fmt: skip
        return due_at

    def _hop(self, rule: rules.Rule, at: datetime) -> None:
        staying = next((hop for hop in self.hops if hop["ended_at"] is None), None)
        if staying and rule.verb == "accept":
            staying["accepted_at"] = at
        elif staying and rule.verb in rules.HOP_OUTCOMES:
            staying |= {"ended_at": at, "outcome": rules.HOP_OUTCOMES[rule.verb]}
        if rule.target == State.ASSIGNED:
            self.hops.append({
                "case_id": self.case["id"], "started_seq": self.case["version"] + 1, "cycle": self.case["cycle"],
                "unit_id": self.case["unit_id"], "received_at": at, "due_at": self.case["due_at"],
                "accepted_at": None, "ended_at": None, "outcome": None,
            })  # fmt: skip

    def _stand(self, state: State, at: datetime) -> None:
        keeps = self.case.get("resolved_at") if state == State.CLOSED else None
        self.case["resolved_at"] = at if state == State.RESOLVED else keeps
        self.case["rejected_at"] = at if state == State.REJECTED else None
        self.case["state_before"] = self.case["state"] if state != self.case["state"] else self.case.get("state_before")
        if state in (State.ACCEPTED, State.IN_PROGRESS):
            self.case["act_by"] = self.case["due_at"]
        elif state != State.ASSIGNED:
            self.case["act_by"] = at

    def _note(self, verb: str, at: datetime) -> None:
        match verb:
            case "publish":
                self.case["published_at"] = at
            case "resolve":
                self.case["outcome"] = CODES[verb]
            case "reject":
                self.case["reject_code"] = CODES[verb]
            case "rate":
                self.case["rating"] = CODES[verb]

    def _event(  # noqa: PLR0917 - everything one event holds
        self,
        verb: str,
        before: State | None,
        after: State,
        at: datetime,
        kind: str,
        code: str | None,
        commitment: bytes | None,
    ) -> None:
        case = self.case
        case |= {"state": after.value, "version": case["version"] + 1, "updated_at": at}
        event: dict[str, Any] = {name: case.get(name) for name in rules.BODY_FIELDS} | {
            "case_id": case["id"], "seq": case["version"], "at": at, "verb": verb, "to_state": after.value,
            "from_state": before.value if before else None, "actor_kind": kind, "code": code, "commitment": commitment,
            "actor_id": case["account_id"] if kind == "citizen" else None,
        }  # fmt: skip
        body = rules.canonical(event)
        case["head"] = rules.link(case["head"], body)
        self.events.append(event | {"body": body, "hash": case["head"]})

    def _rows(self, said: ReportIn, nonce: bytes) -> Rows:
        case, (lat, lon), at = self.case, self.point, self.received_at
        if case["commune_id"]:
            case |= {"boundary_version_id": self.known.boundaries, "route_reason": "rule"}
        public: list[Sequence[Any]] = (
            [(said.id, said.description, lat, lon, case["published_at"])] if case.get("published_at") else []
        )
        return {
            "report": [(said.id, case["account_id"], said.category, "app", "public", True, False, at, nonce)],
            "report_content": [(said.id, said.description, lat, lon, 8.0, said.address, nonce)],
            "case_file": [_row("case_file", case)],
            "case_event": [_row("case_event", each) for each in self.events],
            "case_text": self.texts,
            "case_hop": [_row("case_hop", each) for each in self.hops],
            "sla_clock": [_row("sla_clock", each) for each in self.clocks],
            "public_copy": public,
            "message": self.messages,
        }


def _row(table: str, values: dict[str, Any]) -> list[Any]:
    return [values.get(name) for name in COLUMNS[table].split()]


def counts(system: System) -> Iterator[tuple[str, int]]:
    """How many rows each table holds."""
    for table in COLUMNS:
        yield table, int(str(system.ask(f"SELECT count(*) FROM {table}")))
