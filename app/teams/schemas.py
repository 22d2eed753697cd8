"""Working together on the wire, and what is refused."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.cases.schemas import MediaIds, Note, PublishIn, ReasonIn, TakeBackIn, TransferIn
from app.core.errors import Problem
from app.identity.rules import Role

BULK_MAX = 50

NOT_OF_THE_UNIT = Problem(
    "not_of_the_unit",
    422,
    vi=(
        "Cán bộ không thuộc đơn vị",
        "Người được chọn hiện không phải cán bộ đang làm việc của đơn vị giữ hồ sơ. Vui lòng chọn trong danh sách.",
    ),
    en=("Not of the unit", "That person does not work for the unit that holds the case now. Choose from its list."),
)
ONLY_A_LEAD_ASSIGNS = Problem(
    "only_a_lead_assigns",
    409,
    vi=(
        "Cần lãnh đạo đơn vị phân công",
        "Cán bộ chỉ tự nhận hồ sơ chưa ai nhận, hoặc trả lại hồ sơ của mình. Vui lòng đề nghị lãnh đạo phân công.",
    ),
    en=(
        "A lead assigns",
        "An officer takes what nobody has, or gives back what is the own. Ask a lead of the unit to assign it.",
    ),
)
HOLDS_IT_ALREADY = Problem(
    "holds_it_already",
    409,
    vi=("Đơn vị đang chủ trì", "Đơn vị này đang chủ trì hồ sơ. Vui lòng chọn đơn vị khác để phối hợp."),
    en=("It holds the case", "This unit holds the case itself. Choose another one to help."),
)
HELPS_ALREADY = Problem(
    "helps_already",
    409,
    vi=("Đơn vị đang phối hợp", "Đơn vị này đã có trong danh sách phối hợp của hồ sơ."),
    en=("Helps already", "This unit helps with the case already."),
)
DOES_NOT_HELP = Problem(
    "does_not_help",
    409,
    vi=("Đơn vị không phối hợp", "Đơn vị này không có trong danh sách phối hợp của hồ sơ. Vui lòng tải lại hồ sơ."),
    en=("Does not help", "This unit does not help with the case. Load the case again."),
)

_STRICT = ConfigDict(extra="forbid")


class AssignPersonIn(BaseModel):
    """Who of the unit works on the case; null: nobody any more."""

    model_config = _STRICT

    assignee: UUID | None


class CooperationIn(ReasonIn):
    """The unit meant, by code, and why."""

    unit: str = Field(min_length=1, max_length=60)


class NoteIn(BaseModel):
    """Words, and perhaps photos, for colleagues; neither the citizen nor the public ever sees them."""

    model_config = _STRICT

    text: Note
    media_ids: MediaIds = []


class StaffMemberOut(BaseModel):
    """Somebody who can be given the unit's cases: a name and a role, nothing more."""

    id: UUID
    name: str
    role: Role


# --- many cases at once ---------------------------------------------------------------------------------------------


class BulkCase(BaseModel):
    """A case and the version in which the caller saw it."""

    model_config = _STRICT

    case_id: UUID
    version: int = Field(ge=1)


class _Bulk(BaseModel):
    model_config = _STRICT

    cases: Annotated[list[BulkCase], Field(min_length=1, max_length=BULK_MAX)]


class BulkMove(_Bulk):
    """A move that needs nothing more."""

    verb: Literal["verify", "accept", "start"]


class BulkReasoned(_Bulk, ReasonIn):
    """A move with one reason for all."""

    verb: Literal["return", "hide", "unhide"]


class BulkTransfer(_Bulk, TransferIn):
    """All to one unit, for one reason."""

    verb: Literal["transfer", "hand_down"]


class BulkTakeBack(_Bulk, TakeBackIn):
    """All back to a unit above."""

    verb: Literal["take_back"]


class BulkAssignPerson(_Bulk, AssignPersonIn):
    """All to one person of the unit, or to nobody."""

    verb: Literal["assign_person"]


class BulkNote(_Bulk):
    """The same internal note on all."""

    verb: Literal["note"]
    text: Note


class BulkPublish(_Bulk):
    """Each published as it was written, with all its photos."""

    verb: Literal["publish"]


BulkIn = Annotated[
    BulkMove | BulkReasoned | BulkTransfer | BulkTakeBack | BulkAssignPerson | BulkNote | BulkPublish,
    Field(discriminator="verb"),
]
PUBLISHED_AS_WRITTEN = PublishIn()


class BulkResultOut(BaseModel):
    """What became of one case: its new version, or the problem for which it stayed as it was."""

    case_id: UUID
    version: int | None = Field(description="The new version; null where the case was not moved.")
    problem: dict[str, Any] | None = Field(description="Why it was not moved (RFC 9457); null where it was.")


class BulkOut(BaseModel):
    """A result for each case, in the order asked."""

    results: list[BulkResultOut]
