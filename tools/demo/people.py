"""The demo's people: staff with one shared password, citizens with numbers that belong to nobody."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import psycopg
from sqlmodel import col, select

from app.catalog.queries import catalogue
from app.core import clock
from app.core.config import settings
from app.core.db import Session, transaction
from app.core.errors import DomainError
from app.identity import actions as identity
from app.identity.actions import CitizenAttempt
from app.identity.models import Identity
from app.identity.policy import Grant, Viewer, citizen_viewer, staff_viewer
from app.identity.queries import email_index, phone_index
from app.identity.rules import Role
from app.orgunits.queries import Directory, UnitInfo, directory
from tools.demo.texts import texts

DEMO = UUID("6f3c7a52-0d1e-5b9a-8c44-2f1d7e90ab01")
PASSWORD = "thai-nguyen-demo"  # noqa: S105 - printed on purpose: it opens a laptop's demo and nothing else
DOMAIN = "thainguyen.example"
# People join before the first report they act on.
JOINED_BEFORE = timedelta(days=200)
LOCK = 0x70686E61


@dataclass(frozen=True, slots=True)
class Place:
    """A commune that reports come from, how often, and as which word its people's addresses carry."""

    code: str
    slug: str
    weight: float
    urban: bool = True


PLACES = (
    Place("05443", "phan-dinh-phung", 17),
    Place("05467", "gia-sang", 8),
    Place("05500", "tich-luong", 8),
    Place("05455", "quyet-thang", 6),
    Place("05482", "quan-trieu", 6),
    Place("05710", "linh-son", 5),
    Place("05860", "pho-yen", 7),
    Place("05890", "van-xuan", 4),
    Place("05899", "trung-thanh", 3),
    Place("05857", "phuc-thuan", 2),
    Place("05518", "song-cong", 5),
    Place("05528", "bach-quang", 4),
    Place("05533", "ba-xuyen", 2),
    Place("01840", "duc-xuan", 5),
    Place("01843", "bac-kan", 4),
    Place("05830", "dai-tu", 3, urban=False),
    Place("05692", "dong-hy", 3, urban=False),
    Place("05908", "phu-binh", 3, urban=False),
    Place("05941", "diem-thuy", 2, urban=False),
    Place("05611", "phu-luong", 2, urban=False),
    Place("05569", "dinh-hoa", 2, urban=False),
    Place("05503", "tan-cuong", 1, urban=False),
    Place("05716", "vo-nhai", 1, urban=False),
    Place("01906", "ba-be", 1, urban=False),
    Place("02020", "cho-don", 1, urban=False),
    Place("02155", "na-ri", 1, urban=False),
    Place("02086", "cho-moi", 1, urban=False),
)
# Units whose people are printed; everybody else stands under "other_accounts".
SHOWN = ("05443", "05860", "01840", "05830", "so_xay_dung", "so_nong_nghiep_va_moi_truong", "cong_an_tinh", "dien_luc")
CITIZENS_SHOWN, CITIZENS = 3, 60


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of the demo. `login` is an e-mail address (staff) or a phone (citizens)."""

    role: Role
    login: str
    name: str
    unit: str | None = None
    unit_name: str = ""
    shown: bool = False

    def told(self) -> dict[str, str]:
        """What the operator is shown."""
        if self.role == Role.CITIZEN:
            return {"role": self.role, "phone": self.login, "name": self.name}
        return {
            "role": self.role,
            "email": self.login,
            "password": PASSWORD,
            "unit": self.unit_name or "toàn tỉnh",
            "name": self.name,
        }


class ProductionError(Exception):
    """Demo people have known passwords: they do not belong into production."""


def citizens() -> list[Person]:
    """The citizens; 0900 000 … is a range nobody answers."""
    return [
        Person(Role.CITIZEN, f"0900000{number:03d}", _name(number), shown=number <= CITIZENS_SHOWN)
        for number in range(1, CITIZENS + 1)
    ]


def staff(units: Directory) -> list[Person]:
    """The staff: the province's roles, and officer and lead of every unit that the demo's reports can reach."""
    province = [
        (Role.DISPATCHER, "dieu-phoi", "Nguyễn Thu Hà"),
        (Role.DISPATCHER, "dieu-phoi-2", "Lê Minh Khang"),
        (Role.LEADER, "lanh-dao", "Trần Đức Thịnh"),
        (Role.ADMINISTRATOR, "quan-tri", "Phạm Ngọc Anh"),
        (Role.AUDITOR, "kiem-tra", "Hoàng Thanh Tùng"),
    ]
    people = [Person(role, f"{local}@{DOMAIN}", name, shown=local != "dieu-phoi-2") for role, local, name in province]
    first = PLACES[0]
    for number, (unit, local) in enumerate(_units(units), start=100):
        for role, word, offset in ((Role.OFFICER, "can-bo", 0), (Role.LEAD, "phu-trach", 500)):
            people.append(_member(role, word, unit, local, number + offset))
        if unit.code == first.code:
            people.append(_member(Role.LEADER, "lanh-dao", unit, local, number + 700))
            people.append(_member(Role.ASSISTANT, "to-cong-nghe", unit, local, number + 800))
    return people


def _member(role: Role, word: str, unit: UnitInfo, local: str, number: int) -> Person:
    return Person(role, f"{word}.{local}@{DOMAIN}", _name(number), unit.code, unit.name, shown=unit.code in SHOWN)


def _units(units: Directory) -> Iterator[tuple[UnitInfo, str]]:
    today = clock.local_day(clock.now())
    slugs = {place.code: place.slug for place in PLACES}
    for unit in units.units:
        if unit.exists(today) and (unit.code in slugs or unit.level in ("department", "utility")):
            yield unit, slugs.get(unit.code) or unit.code.replace("_", "-")


def _name(number: int) -> str:
    """An invented name, always the same for a number."""
    names = texts().names
    return f"{names.family[number % len(names.family)]} {names.given[number * 7 % len(names.given)]}"


# --- accounts ------------------------------------------------------------------------------------------------------


def ensure() -> list[Person]:
    """Make whoever is missing; returns everybody. Safe to repeat, and at the same time."""
    if settings().environment == "production":
        raise ProductionError(
            "Demo accounts have published passwords and are refused while PHANANH_ENVIRONMENT=production."
        )
    with transaction() as session:
        people = [*staff(directory(session)), *citizens()]
        missing = _missing(session, people)
    if missing:
        password_hash = identity.hash_password(PASSWORD)
        with alone(), transaction() as session:
            today = clock.local_day(clock.now())
            with clock.travelled(clock.now() - JOINED_BEFORE):
                for person in _missing(session, people):
                    _join(session, person, password_hash, today)
    return people


@contextmanager
def alone() -> Iterator[None]:
    """Let no other process make demo data meanwhile; the lock goes with the process, whatever ends it."""
    with psycopg.connect(settings().database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        yield


def _missing(session: Session, people: list[Person]) -> list[Person]:
    emails = {email_index(person.login): person for person in people if person.role != Role.CITIZEN}
    phones = {phone_index(person.login): person for person in people if person.role == Role.CITIZEN}
    known = set(session.exec(select(Identity.email_index).where(col(Identity.email_index).in_(emails))))
    known |= set(session.exec(select(Identity.phone_index).where(col(Identity.phone_index).in_(phones))))
    there = {bytes(index) for index in known if index is not None}
    return [person for index, person in {**emails, **phones}.items() if index not in there]


def _join(session: Session, person: Person, password_hash: str, today: date) -> None:
    if person.role == Role.CITIZEN:
        _sign_in(session, person)
        return
    unit = directory(session).by_code(person.unit, today) if person.unit else None
    identity.create_staff(
        session,
        email=person.login,
        password_hash=password_hash,
        name=person.name,
        grants=[Grant(person.role, unit.id if unit else None)],
        actor_id=None,
    )


def _sign_in(session: Session, person: Person) -> None:
    """Open a citizen's account as a phone does: with a code, and consent to the notice in force."""
    codes: list[str] = []

    def keep(session: Session, **message: Any) -> None:  # noqa: ARG001 - a sender gets the session it may owe in
        codes.append(message["code"])

    consent = catalogue(session).consent(clock.local_day(clock.now()))
    identity.request_code(session, person.login, locale="vi", send=keep)
    version = consent.version if consent else "demo"
    outcome = identity.sign_in_citizen(session, CitizenAttempt(person.login, codes[0], version, person.name, "demo"))
    if isinstance(outcome, DomainError):
        raise outcome


# --- who acts ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cast:
    """Everybody signed in: citizens in their order, dispatchers, officers and leads by unit."""

    citizens: tuple[Viewer, ...]
    dispatchers: tuple[Viewer, ...]
    members: Mapping[tuple[str, UUID], Viewer]
    officers: Mapping[str, Viewer]

    def officer(self, unit: str) -> Viewer:
        """The officer of a unit, by its code."""
        return self.officers[unit]

    @classmethod
    def assembled(cls, session: Session, people: list[Person]) -> "Cast":
        """Look everybody up once."""
        accounts = _accounts(session, people)
        members: dict[tuple[str, UUID], Viewer] = {}
        officers: dict[str, Viewer] = {}
        dispatchers: list[Viewer] = []
        for person in people:
            viewer = staff_viewer(session, accounts[person.login]) if person.role != Role.CITIZEN else None
            if viewer is None:
                continue
            if person.role == Role.DISPATCHER:
                dispatchers.append(viewer)
            if person.role == Role.OFFICER and person.unit:
                officers[person.unit] = viewer
            members |= {(grant.role, grant.unit_id): viewer for grant in viewer.grants if grant.unit_id}
        return cls(
            tuple(citizen_viewer(accounts[person.login]) for person in people if person.role == Role.CITIZEN),
            tuple(dispatchers),
            members,
            officers,
        )


def _accounts(session: Session, people: list[Person]) -> dict[str, UUID]:
    wanted = {
        phone_index(person.login) if person.role == Role.CITIZEN else email_index(person.login): person.login
        for person in people
    }
    rows = session.exec(
        select(Identity.account_id, Identity.phone_index, Identity.email_index).where(
            col(Identity.phone_index).in_(wanted) | col(Identity.email_index).in_(wanted)
        )
    )
    return {wanted[bytes(phone or email or b"")]: account_id for account_id, phone, email in rows}


def own_id(kind: str, *parts: object) -> UUID:
    """The same identifier for the same thing in every run."""
    return uuid5(DEMO, ":".join(map(str, (kind, *parts))))


# --- what the operator is told -------------------------------------------------------------------------------------

HOW = {
    "staff": "POST /v1/auth/staff-sessions with email and password",
    "citizens": "POST /v1/auth/codes with phone; the code stands in outbox.jsonl beside this file (nothing is sent)",
}


def tell(people: list[Person], **more: Any) -> Path:
    """Write who can sign in, and how, into var/demo.json for its owner alone; keeps what others noted there."""
    path = settings().var_dir / "demo.json"
    told: dict[str, Any] = _read(path) | {
        "accounts": [person.told() for person in people if person.shown],
        "other_accounts": [person.told() for person in people if not person.shown],
        "how_to_sign_in": HOW,
        **more,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}.new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(json.dumps(told, ensure_ascii=False, indent=2) + "\n")
    fresh.replace(path)
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
