"""Plans what becomes of each report, step by step, up to now. Pure: the same world and seed plan the same lives.

A life is planned whole, before any of it is lived: people act in working hours (the duty officer at any hour where it
is urgent), most of them within the deadline, and every step lies after the one before it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Literal
from uuid import UUID

from app.catalog.rules import Category
from app.core.clock import LOCAL
from app.deadlines.rules import Duration, due
from app.reports.schemas import LocationIn, ReportIn
from tools.demo import dice
from tools.demo.drawing import Shot
from tools.demo.people import CITIZENS, own_id
from tools.demo.texts import filled, texts, typed
from tools.demo.world import Spot, World

Stall = Literal["verifying", "triage", "assigned", "accepted", "in_progress"]

# One life in nine is stuck somewhere now; how many days ago it began at most.
STALLS: Sequence[tuple[Stall, float]] = (
    ("assigned", 4),
    ("in_progress", 14),
    ("verifying", 2.5),
    ("accepted", 6),
    ("triage", 2.5),
    ("in_progress", 21),
    ("verifying", 4),
    ("assigned", 2),
    ("triage", 9),
)
STALLED_SHARE = 1 / 9

SCENES = {
    "o_ga": "hole",
    "den_tin_hieu": "lamp",
    "bien_bao": "sign",
    "cau_sat_lo": "hole",
    "do_xe_un_tac": "stalls",
    "den_duong": "lamp",
    "ho_ga_mat_nap": "manhole",
    "via_he": "pavement",
    "cong_trinh_cong_cong": "pavement",
    "ngap_ung": "flood",
    "cong_tac": "drain",
    "rac_ton_dong": "rubbish",
    "do_trom_rac": "rubbish",
    "khoi_bui_mui": "smoke",
    "nuoc_thai": "drain",
    "dot_rac": "smoke",
    "lan_chiem_via_he": "stalls",
    "quang_cao_rao_vat": "sign",
    "xay_khong_phep": "building",
    "lan_chiem_dat_cong": "building",
    "day_cot_nguy_hiem": "wires",
    "mat_nuoc": "flood",
    "cap_vien_thong": "wires",
    "co_so_mat_ve_sinh": "stalls",
}
# When people report: weights of the hours from 0 to 23, local time.
_HOURS = (0, 0, 0, 0, 0, 1, 4, 9, 9, 7, 6, 5, 5, 4, 4, 5, 6, 8, 9, 8, 7, 5, 2, 1)
_AWAKE = range(7, 22)


@dataclass(frozen=True, slots=True)
class Step:
    """Something done at a moment.

    `place` is a dispatcher giving the case to `unit` where the machine did not; to `resolve`, `unit` is who is expected
    to hold the case by then. `pin` is where a citizen moves it, as latitude and longitude.
    """

    at: datetime
    verb: str
    unit: str | None = None
    code: str | None = None
    note: str = ""
    shots: tuple[Shot, ...] = ()
    pin: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Life:
    """A report, who sends it when with which photos, and what then happens to it."""

    number: int
    citizen: int
    received_at: datetime
    report: ReportIn
    shots: tuple[Shot, ...]
    steps: tuple[Step, ...]

    @property
    def report_id(self) -> UUID:
        """Made by the phone, so that a repeated start recognises what was lived before."""
        return self.report.id


def lives(world: World, seed: int, since: datetime, until: datetime, count: int) -> list[Life]:
    """`count` lives between `since` and `until`, in the order their reports were received."""
    rng = dice(seed, "province")
    deck = _deck(world, count)
    rng.shuffle(deck)
    citizens = [number % CITIZENS for number in range(count)]
    rng.shuffle(citizens)
    planned = []
    for number in range(count):
        own = dice(seed, number)
        stall, days = STALLS[number % len(STALLS)] if number < count * STALLED_SHARE else (None, None)
        category = _drawn(world, deck, stall)
        received_at = _received_at(own, since, until, days)
        planned.append(_Story(world, own, seed, number, citizens[number], category, received_at, until, stall).told())
    return sorted(planned, key=lambda life: (life.received_at, life.number))


def _deck(world: World, count: int) -> list[str]:
    """A category for every report, in the shares of texts.yaml to the last report (largest remainder)."""
    weights = {code: weight for code, weight in texts().weights.items() if code in world.categories}
    exact = {code: count * weight / sum(weights.values()) for code, weight in weights.items()}
    whole = {code: math.floor(share) for code, share in exact.items()}
    left = count - sum(whole.values())
    for code in sorted(exact, key=lambda code: (whole[code] - exact[code], code))[:left]:
        whole[code] += 1
    return [code for code, number in whole.items() for _ in range(number)]


def _drawn(world: World, deck: list[str], stall: Stall | None) -> Category:
    """The next category of the deck, or the next in which a case can be stuck there."""

    def fits(category: Category) -> bool:
        match stall:
            case None:
                return True
            case "verifying":
                return not category.trusted
            case "triage":
                return category.trusted and category.code in texts().elsewhere
            case _:
                return category.trusted and category.urgency != "urgent"

    place = next((at for at, code in enumerate(deck) if fits(world.categories[code])), 0)
    return world.categories[deck.pop(place)]


def _received_at(rng: Random, since: datetime, until: datetime, days: float | None) -> datetime:
    """Some waking hour, later ones more likely; or one of the last `days`."""
    # From 0.6 times as many a day at the beginning to 1.4 times as many now.
    grown = (math.sqrt(0.36 + 1.6 * rng.random()) - 0.6) / 0.8
    ago = timedelta(days=rng.uniform(days / 3, days)) if days else (until - since) * (1 - grown)
    morning = (until - ago).astimezone(LOCAL).replace(hour=0, minute=0, second=0, microsecond=0)
    hour = rng.choices(range(24), _HOURS)[0]
    moment = morning + timedelta(hours=hour, seconds=rng.uniform(0, 3600))
    return moment if moment < until - timedelta(minutes=15) else moment - timedelta(days=1)


@dataclass(slots=True)
class _Story:
    """One life while it is being planned: a moment that only moves on, and the steps so far."""

    world: World
    rng: Random
    seed: int
    number: int
    citizen: int
    category: Category
    received_at: datetime
    until: datetime
    stall: Stall | None
    at: datetime = field(init=False)
    assigned_at: datetime = field(init=False)
    spot: Spot = field(init=False)
    pin: tuple[float, float] = field(init=False)
    is_public: bool = field(init=False)
    unit: str | None = field(init=False)
    steps: list[Step] = field(default_factory=list)

    def told(self) -> Life:
        """The whole life, cut at now."""
        self.at = self.assigned_at = self.received_at
        self.spot = self.rng.choices(self.world.spots, [spot.place.weight for spot in self.world.spots])[0]
        self.pin = self.spot.point(self.rng)
        self.unit = self.category.default_unit_code or self.spot.place.code
        report, shots = self._report(), self._shots()
        self._live()
        past = tuple(step for step in self.steps if step.at <= self.until)
        return Life(self.number, self.citizen, self.received_at, report, shots, past)

    # what is sent

    def _report(self) -> ReportIn:
        rng, urban = self.rng, self.spot.place.urban
        said = typed(filled(rng.choice(texts().reports[self.category.code]), rng, urban=urban), rng)
        has_fix = rng.random() < 0.9  # noqa: PLR2004 - shares of a made-up world, here and below
        names = texts().places.of(urban=urban)
        private = (
            not self.category.may_be_public
            or self.category.group_code in self.world.private_groups
            or rng.random() < 0.12  # noqa: PLR2004
        )
        self.is_public = not private
        fix = LocationIn(lat=self.pin[0], lon=self.pin[1], accuracy_m=round(rng.lognormvariate(2.6, 0.6), 1))
        return ReportIn(
            id=own_id("report", self.seed, self.number),
            category=self.category.code,
            description=said,
            location=fix if has_fix else None,
            commune=None if has_fix else self.spot.place.code,
            place_text=None if has_fix else f"gần {rng.choice(names.landmarks)}",
            address=f"đường {rng.choice(names.streets)}" if rng.random() < 0.3 else None,  # noqa: PLR2004
            occurred_at=self.received_at - timedelta(minutes=rng.expovariate(1 / 90)),
            sent_at=self.received_at - timedelta(seconds=rng.uniform(0.3, 4)),
            visibility="private" if private else "public",
            hide_name=rng.random() < 0.8,  # noqa: PLR2004
            allow_call=rng.random() < 0.35,  # noqa: PLR2004
        )

    def _shots(self) -> tuple[Shot, ...]:
        scene = SCENES.get(self.category.code)
        if scene is None or self.rng.random() > 0.44:  # noqa: PLR2004
            return ()
        many = 1 + (self.rng.random() < 0.15)  # noqa: PLR2004
        return tuple(self._shot(scene, at=self.received_at, place=place) for place in range(many))

    def _shot(self, scene: str, *, at: datetime, place: int = 0, fixed: bool = False) -> Shot:
        rng = self.rng
        off = 0.05 if rng.random() < 0.06 else 0.0003  # noqa: PLR2004 - some cameras were elsewhere
        position = round(self.pin[0] + rng.uniform(-off, off), 6), round(self.pin[1] + rng.uniform(-off, off), 6)
        return Shot(
            scene,
            self.number * 10 + place,
            fixed=fixed,
            taken_at=at - timedelta(minutes=rng.uniform(1, 40)) if rng.random() < 0.6 else None,  # noqa: PLR2004
            at=position if rng.random() < 0.5 else None,  # noqa: PLR2004
        )

    # when things happen

    def _step(self, at: datetime, verb: str, *, unit: str | None = None, code: str | None = None, note: str = "", shots: tuple[Shot, ...] = ()) -> None:  # fmt: skip  # noqa: E501
        self.at = at
        self.steps.append(Step(at, verb, unit, code, note, shots))

    def _later(self, low: float, high: float) -> datetime:
        """When staff get to it, after some minutes of working time; of any time where it is urgent, and sooner."""
        minutes = self.rng.uniform(low, high)
        seconds = timedelta(seconds=self.rng.uniform(5, 55))
        if self.category.urgency == "urgent":
            return self.at + timedelta(minutes=minutes / 8) + seconds
        return due(self.world.calendar, self.at, Duration("working", max(1, round(minutes)))) + seconds

    def _awake(self, low_hours: float, high_hours: float) -> datetime:
        """When a citizen gets to it: some hours later, not at night."""
        moment = self.at + timedelta(hours=self.rng.uniform(low_hours, high_hours))
        local = moment.astimezone(LOCAL)
        if local.hour in _AWAKE:
            return moment
        morning = local.replace(hour=7, minute=self.rng.randrange(60), second=self.rng.randrange(60))
        return morning if morning > local else morning + timedelta(days=1)

    def _share(self, share: float) -> float:
        """That share of the time allowed for resolving, in minutes."""
        return self.world.time_to_resolve[self.category.code].minutes * share

    def _chance(self, share: float) -> bool:
        return self.rng.random() < share

    # what happens

    def _live(self) -> None:
        """From the first look at the report to the last word about it."""
        if not self.category.trusted:
            if self.stall == "verifying":
                return
            if self._dropped(rejected=0.2, withdrawn=0.03):
                return
            self._step(self._later(8, 300), "verify")
        if not self._reaches_a_unit() or self._dropped(rejected=0.02, withdrawn=0.03):
            return
        self._corrected()
        if self.stall == "assigned" or not self._worked_on(cycle=1):
            return
        self._aftermath()

    def _dropped(self, *, rejected: float, withdrawn: float) -> bool:
        """Refused with a code, or taken back."""
        if self.stall is not None:
            return False
        if self._chance(rejected):
            codes = list(texts().rejected)
            code = self.rng.choices(codes, [6, 4, 3, 2, 2, 1, 1][: len(codes)])[0]
            self._step(self._later(15, 420), "reject", code=code, note=texts().rejected[code])
            return True
        if self._chance(withdrawn):
            self._step(self._awake(0.2, 5), "withdraw", note=self.rng.choice(texts().withdrawn))
            return True
        return False

    def _reaches_a_unit(self) -> bool:
        """Placed by a person where the machine may not decide; sometimes handed back and given to another."""
        needs_person = self.world.approximate and self.category.level == "commune"
        other = texts().elsewhere.get(self.category.code)
        if needs_person and self.stall == "triage" and self._chance(0.6):
            return False
        if needs_person:
            self._step(self._later(4, 150), "place", unit=self.spot.place.code, note=self.rng.choice(texts().assigned))
        self.assigned_at = self.at
        self._published()
        if other is None or not (self.stall == "triage" or self._chance(0.2)):
            return True
        if self.stall != "triage" and self._chance(0.3):
            self._step(self._later(20, 300), "transfer", unit=other.unit, note=other.reason)
            self.unit = other.unit
            return True
        self._step(self._later(20, 400), "return", note=other.reason)
        if self.stall == "triage":
            return False
        self._step(self._later(10, 200), "place", unit=other.unit, note="Giao theo ý kiến của đơn vị.")
        self.unit = other.unit
        return True

    def _corrected(self) -> None:
        """Before the unit accepts: a pin a little aside, a category like its sibling, an urgency nobody had seen.

        Drawn apart, so that what else happens in the world does not depend on it.
        """
        rng = dice(self.seed, self.number, "corrected")
        chance = rng.random()
        if self.stall is not None or self.category.urgency == "urgent":
            return
        if chance < 0.05 and (self.at.astimezone(LOCAL).hour + 1) in _AWAKE:  # noqa: PLR2004
            self.at += timedelta(minutes=rng.uniform(2, 30))
            self.pin = self.spot.beside(self.pin, rng)
            note = rng.choice(texts().corrected["move_pin"])
            self.steps.append(Step(self.at, "move_pin", note=note, pin=self.pin))
            return
        siblings = [each.code for each in self.world.categories.values() if self._is_sibling(each)]
        verb = "recategorise" if chance < 0.09 and siblings else "set_urgency" if chance > 0.985 else None  # noqa: PLR2004
        if verb is None:
            return
        at = due(self.world.calendar, self.at, Duration("working", rng.randint(3, 60)))
        code = rng.choice(siblings) if verb == "recategorise" else "urgent"
        self._step(
            at + timedelta(seconds=rng.uniform(5, 55)), verb, code=code, note=rng.choice(texts().corrected[verb])
        )

    def _is_sibling(self, other: Category) -> bool:
        """Whether a case of the one might as well have been sent under the other, to the same unit."""

        def kind(category: Category) -> tuple[object, ...]:
            return category.group_code, category.level, category.default_unit_code, category.may_be_public

        return kind(other) == kind(self.category) and other.code != self.category.code and other.urgency == "normal"

    def _published(self) -> None:
        """A dispatcher shows most reports to the public; a few are hidden again, and some of them shown once more."""
        if not self.is_public or not self._chance(0.74):
            return
        self._step(self._later(1, 90), "publish")
        if self._chance(0.03):
            self._step(self._later(60, 900), "hide", note=self.rng.choice(texts().hidden))
            if self._chance(0.5):
                self._step(self._later(60, 400), "unhide", note=self.rng.choice(texts().unhidden))

    def _worked_on(self, *, cycle: int) -> bool:
        """Accepted, looked into, resolved: mostly in time. False where it still lies there."""
        slow = self._chance(0.05)
        self._step(self._later(600, 1400) if slow else self._later(5, min(430, self._share(0.16))), "accept")
        if self.stall == "accepted":
            return False
        if self._chance(0.1):
            note = filled(self.rng.choice(texts().information), self.rng, urban=self.spot.place.urban)
            self._step(self._awake(0.5, 6), "add_information", note=typed(note, self.rng))
        if self._chance(0.4):
            self._step(self._later(5, self._share(0.12)), "message", note=self.rng.choice(texts().messages))
        self._step(self._later(2, self._share(0.16)), "start")
        if self.stall == "in_progress":
            return False
        self._resolved(fixed=0.92 if cycle > 1 else 0.8)
        return True

    def _resolved(self, *, fixed: float) -> None:
        allowed = self.world.time_to_resolve[self.category.code]
        taken = max(1, round(allowed.minutes * self.rng.lognormvariate(math.log(0.5), 0.62)))
        kind: Literal["working", "continuous"] = "continuous" if allowed.kind == "continuous" else "working"
        planned = due(self.world.calendar, self.assigned_at, Duration(kind, taken))
        at = max(planned + timedelta(seconds=self.rng.uniform(1, 50)), self._later(1, 8))
        outcome = "fixed" if self._chance(fixed) else self.rng.choice(list(texts().answers))
        notes = texts().resolved[self.category.group_code] if outcome == "fixed" else texts().answers[outcome]
        scene = SCENES.get(self.category.code)
        shots = (self._shot(scene, at=at, fixed=True),) if scene and outcome == "fixed" and self._chance(0.2) else ()
        self._step(at, "resolve", unit=self.unit, code=outcome, note=self.rng.choice(notes), shots=shots)

    def _aftermath(self) -> None:
        """Confirmed and rated, disputed, or closed by silence."""
        if self._chance(0.07):
            self._step(self._awake(3, 100), "reopen", note=typed(self.rng.choice(texts().reopened), self.rng))
            self.assigned_at = self.at
            if not self._worked_on(cycle=2):
                return
        resolved_at = self.at
        if self._chance(0.36):
            self._step(self._awake(0.3, 90), "confirm")
            self._rated(0.7)
            return
        self._rated(0.2)
        self._step(resolved_at + self.world.close_after + timedelta(minutes=self.rng.uniform(1, 15)), "close")

    def _rated(self, share: float) -> None:
        if not self._chance(share):
            return
        rating = self.rng.choices(["satisfied", "acceptable", "dissatisfied"], [72, 17, 11])[0]
        self._step(self._awake(0.05, 30), "rate", code=rating, note=self.rng.choice(texts().ratings[rating]))
