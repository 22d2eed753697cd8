"""The catalogue as everybody reads it: immutable, in memory, without a database."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Literal

Level = Literal["commune", "department", "utility"]
Urgency = Literal["normal", "urgent"]
Publication = Literal["auto", "review", "never"]
Approval = Literal["none", "lead"]
Term = Literal["close_after", "reopen_within", "appeal_within", "extend_by_at_most"]

# One truth for what the phone is told and what intake refuses.
DESCRIPTION_MAX_CHARS = 5000
PHOTOS_PER_REPORT = 10
PHOTO_MAX_BYTES = 15_000_000
PHOTO_TYPES = ("image/jpeg", "image/png", "image/webp", "image/heic")


@dataclass(frozen=True, slots=True)
class Group:
    """A field of public life; reports of a group that is not `public_default` start as private."""

    code: str
    number: int
    name_vi: str
    name_en: str
    public_default: bool
    active: bool


@dataclass(frozen=True, slots=True)
class Category:
    """One kind of report.

    `level` and `default_unit_code` say who answers where no rule decides (None: the commune of the place).
    `trusted` goes straight to routing. `publication`: auto = public at once, review = when a dispatcher publishes it,
    never = not even then. `approval`: lead = a unit's result counts once its lead approved it.
    `concerns_staff`: one level up, invisible to the unit concerned.
    """

    code: str
    number: str
    group_code: str
    name_vi: str
    name_en: str
    hint_vi: str
    hint_en: str
    level: Level
    default_unit_code: str | None
    urgency: Urgency
    trusted: bool
    publication: Publication
    concerns_staff: bool
    approval: Approval
    emergency_numbers: tuple[str, ...]
    coarsen_m: int
    photo_suggested: bool
    active: bool

    @property
    def may_be_public(self) -> bool:
        """Whether a report of this category can be published at all."""
        return self.publication != "never"


@dataclass(frozen=True, slots=True)
class RejectCode:
    """A reason to refuse, and where the citizen is told to turn."""

    code: str
    name_vi: str
    name_en: str
    turn_to_vi: str
    turn_to_en: str
    active: bool


@dataclass(frozen=True, slots=True)
class EmergencyNumber:
    """A number to call first."""

    number: str
    name_vi: str
    name_en: str


@dataclass(frozen=True, slots=True)
class Consent:
    """The purpose notice under one version."""

    version: str
    valid_from: date
    text_vi: str
    text_en: str


@dataclass(frozen=True, slots=True)
class Province:
    """Whom this installation serves. `bounds` is west, south, east, north in degrees (WGS 84)."""

    code: str
    name_vi: str
    name_en: str
    bounds: tuple[float, float, float, float]
    hotline: str


class Catalogue:
    """Everything of the catalogue at one moment.

    `categories`, `groups` and `reject_codes` are those offered today, in their order; `category`, `group` and `reject`
    also find retired ones, which old reports still name.
    """

    def __init__(
        self,
        *,
        groups: Iterable[Group],
        categories: Iterable[Category],
        reject_codes: Iterable[RejectCode],
        province: Province | None,
        consents: Iterable[Consent],
        emergency_numbers: Iterable[EmergencyNumber],
        minimum_versions: Mapping[str, str],
        features: Mapping[str, bool],
        terms: Mapping[str, int],
    ) -> None:
        self._category = {category.code: category for category in categories}
        self._group = {group.code: group for group in groups}
        self._reject = {code.code: code for code in reject_codes}
        self._consents = tuple(consents)
        self.groups = tuple(group for group in self._group.values() if group.active)
        self.categories = tuple(category for category in self._category.values() if category.active)
        self.reject_codes = tuple(code for code in self._reject.values() if code.active)
        self.province = province
        self.emergency_numbers = tuple(emergency_numbers)
        self.minimum_versions = MappingProxyType(dict(minimum_versions))
        self.features = MappingProxyType(dict(features))
        self._terms = MappingProxyType(dict(terms))

    def category(self, code: str) -> Category | None:
        """The category of this code, retired ones included; see `Category.active`."""
        return self._category.get(code)

    def group(self, code: str) -> Group | None:
        """The group of this code, retired ones included."""
        return self._group.get(code)

    def reject(self, code: str) -> RejectCode | None:
        """The reject code with its texts, retired ones included."""
        return self._reject.get(code)

    def days(self, term: Term) -> int:
        """How many days the province gives for something; for an extension working days, otherwise 24 hours each."""
        return self._terms[term]

    def members(self, group_code: str) -> tuple[Category, ...]:
        """The categories offered in a group, in their order."""
        return tuple(category for category in self.categories if category.group_code == group_code)

    def consent(self, today: date) -> Consent | None:
        """The purpose notice in force on a local day."""
        return max(
            (consent for consent in self._consents if consent.valid_from <= today),
            key=lambda consent: (consent.valid_from, consent.version),
            default=None,
        )
