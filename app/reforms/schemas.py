"""Planned changes of units on the wire, and what is answered when one cannot be."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.core.errors import Problem
from app.orgunits.schemas import Code, Kind, Name
from app.reforms.rules import Change, ChangeKind, Target

PLAN_REFUSED = Problem(
    "unit_change_refused",
    422,
    vi=("Kế hoạch thay đổi chưa thể ghi nhận", "Vui lòng sửa các mục được nêu rồi gửi lại; chưa có gì thay đổi."),
    en=("This plan cannot be entered", "Correct what is listed and send it again; nothing was changed."),
)
TOO_LATE = Problem(
    "unit_change_too_late",
    409,
    vi=(
        "Không còn hủy được thay đổi này",
        "Thay đổi đã được áp dụng, đã hủy, hoặc đã đến ngày hiệu lực {effective}. Vui lòng lập một thay đổi mới.",
    ),
    en=(
        "This change can no longer be undone",
        "It was applied or cancelled, or its day {effective} has come. Plan another change instead.",
    ),
)
IN_USE = Problem(
    "unit_change_in_use",
    409,
    vi=(
        "Đơn vị mới của thay đổi này đã được sử dụng",
        "Ranh giới, quy tắc, vai trò hoặc một thay đổi khác đã nhắc đến đơn vị sẽ thành lập. Vui lòng gỡ chúng trước.",
    ),
    en=(
        "The unit that would begin is used already",
        "Boundaries, rules, roles or another planned change name the unit that would begin. Take those back first.",
    ),
)
Status = Literal["planned", "applied", "cancelled"]
MAX_CHANGES, MAX_UNITS = 400, 100


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TargetIn(_In):
    """A unit that receives: a code alone is a unit of that day, names and kind make a new one."""

    code: Code = Field(examples=["05443"])
    name: Name | None = Field(default=None, examples=["Phường Phan Đình Phùng"])
    name_en: Name | None = Field(default=None, examples=["Phan Dinh Phung Ward"])
    kind: Kind | None = None


class StaffIn(_In):
    """To which successor a role follows whose unit is split."""

    membership_id: UUID
    unit: Code


class ChangeIn(_In):
    """One change. Units are named by the code they bear on the day before.

    rename: `name`, `name_en`. change_kind: `new_kind`, names follow by themselves. merge: `sources` end, the one of
    `targets` follows them as a whole. split: the one of `sources` ends, several `targets` follow with a part each.
    move: `parent` is the new unit above; what stands below comes along.
    """

    kind: ChangeKind
    sources: Annotated[list[Code], Field(max_length=MAX_UNITS)]
    targets: Annotated[list[TargetIn], Field(max_length=MAX_UNITS)] = []
    name: Name | None = None
    name_en: Name | None = None
    new_kind: Kind | None = None
    parent: Code | None = None
    staff: Annotated[list[StaffIn], Field(max_length=1000)] = []

    def change(self) -> Change:
        """The same for the rules."""
        return Change(
            kind=self.kind,
            sources=tuple(self.sources),
            targets=tuple(Target(each.code, each.name, each.name_en, each.kind) for each in self.targets),
            name=self.name,
            name_en=self.name_en,
            new_kind=self.new_kind,
            parent=self.parent,
            staff=tuple((each.membership_id, each.unit) for each in self.staff),
        )


class PlanIn(_In):
    """Changes of units that one decision makes on one day: all are entered, or none."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "effective": "2027-01-01",
                    "decision": "12/NQ-HĐND",
                    "note": "Sáp nhập hai xã",
                    "changes": [
                        {
                            "kind": "merge",
                            "sources": ["05917", "05941"],
                            "targets": [
                                {"code": "05941", "name": "Xã Tân Khánh", "name_en": "Tan Khanh Commune", "kind": "xa"}
                            ],
                        }
                    ],
                }
            ]
        },
    )

    effective: date = Field(description="The first day of the new order; it must lie after today.")
    decision: Name = Field(description="Number of the decision it rests on.")
    note: Annotated[str, Field(max_length=2000)] = ""
    changes: Annotated[list[ChangeIn], Field(min_length=1, max_length=MAX_CHANGES)]


class ChangedUnitOut(BaseModel):
    """A unit that a change concerns."""

    id: UUID
    code: str
    name: str
    part: Literal["source", "begins", "receives"]


class LapsedRoleOut(BaseModel):
    """A role that ended with its unit and was not opened anew elsewhere."""

    account_id: UUID
    name: str
    role: str
    unit: str = Field(description="Code of the unit that ended.")


class UnitChangeOut(BaseModel):
    """A planned, applied or cancelled change of units."""

    id: UUID
    kind: ChangeKind
    status: Status
    effective: date
    decision: str
    note: str
    units: list[ChangedUnitOut] = Field(description="Of a cancelled change only the sources.")
    name: str | None
    name_en: str | None
    new_kind: Kind | None
    parent: str | None = Field(description="Code of the new unit above.")
    actor_id: UUID | None = Field(description="Who planned it; null: an operator's command.")
    created_at: datetime
    applied_at: datetime | None
    cancelled_at: datetime | None
    cancelled_by: UUID | None
    open_cases: int = Field(description="Open cases that are still at the units that end.")
    stuck: list[str] = Field(
        description="References of those that could not be handed over; `phananh units happen --again` tries once more."
    )
    lapsed_roles: list[LapsedRoleOut] = Field(
        description="Roles that ended with their unit because nobody said to which of several units they follow."
    )


class ChangesOut(BaseModel):
    """What was entered."""

    items: list[UnitChangeOut]


class UnitBriefOut(BaseModel):
    """A unit by code and name."""

    id: UUID
    code: str
    name: str


class CasesGoOut(BaseModel):
    """How many open cases of a unit go where; without a unit a person decides."""

    source: UnitBriefOut
    to: UnitBriefOut | None
    number: int


class StaffGoOut(BaseModel):
    """A role that follows to another unit, or lapses where no unit is named."""

    membership_id: UUID
    account_id: UUID
    name: str
    role: str
    source: UnitBriefOut
    to: UnitBriefOut | None


class RuleNamedOut(BaseModel):
    """A routing rule that names a unit that ends; routing goes on with its heir."""

    id: UUID
    unit: UnitBriefOut
    heir: UnitBriefOut | None = Field(description="Null: a person must enter another rule.")


class CategoryNamedOut(BaseModel):
    """A category whose reports go to a unit that ends."""

    code: str
    unit: UnitBriefOut
    heir: UnitBriefOut | None


class AmendedOut(BaseModel):
    """A unit that stays the same unit with another name, kind or place."""

    unit: UnitBriefOut
    name: str
    kind: Kind
    parent: str | None


class PreviewOut(BaseModel):
    """What a planned change will do, as things stand now."""

    change: UnitChangeOut
    ends: list[UnitBriefOut]
    begins: list[UnitBriefOut]
    amended: list[AmendedOut]
    cases: list[CasesGoOut]
    staff: list[StaffGoOut]
    rules: list[RuleNamedOut]
    categories: list[CategoryNamedOut]
    warnings: list[str]
