"""What identity says on the wire, and what it refuses."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.core.errors import Problem
from app.core.text import clean
from app.identity.rules import CODE_ATTEMPTS, CODE_DIGITS, Role

PHONE_INVALID = Problem(
    "phone_invalid",
    422,
    vi=("Số điện thoại chưa đúng", "Vui lòng nhập số di động Việt Nam gồm 10 chữ số, ví dụ 0912 345 678."),
    en=("Phone number not valid", "Enter a Vietnamese mobile number of 10 digits, for example 0912 345 678."),
)
PHONE_NOT_MOBILE = Problem(
    "phone_not_mobile",
    422,
    vi=("Cần số di động", "Số cố định không nhận được tin nhắn mã đăng nhập. Vui lòng dùng số di động."),
    en=("A mobile number is needed", "A landline cannot receive the sign-in code. Use a mobile number."),
)
CODE_WRONG = Problem(
    "code_wrong",
    422,
    vi=("Mã chưa đúng", "Mã xác thực chưa đúng. Bạn còn {attempts_left} lần thử."),
    en=("Wrong code", "The code is not right. Attempts left: {attempts_left}."),
)
CODE_EXHAUSTED = Problem(
    "code_exhausted",
    410,
    vi=("Mã đã bị khóa", f"Mã đã bị nhập sai {CODE_ATTEMPTS} lần nên không dùng được nữa. Vui lòng yêu cầu mã mới."),
    en=("Code locked", f"The code was entered wrongly {CODE_ATTEMPTS} times and is dead. Ask for a new one."),
)
CODE_EXPIRED = Problem(
    "code_expired",
    410,
    vi=("Mã không còn hiệu lực", "Mã đã hết hạn hoặc đã được dùng. Vui lòng yêu cầu mã mới."),
    en=("Code no longer valid", "The code has expired or was used. Ask for a new one."),
)
CONSENT_REQUIRED = Problem(
    "consent_required",
    422,
    vi=(
        "Cần sự đồng ý của bạn",
        "Để tạo tài khoản, vui lòng đọc và đồng ý với thông báo xử lý dữ liệu cá nhân. Mã vừa nhập vẫn dùng được.",
    ),
    en=(
        "Your consent is needed",
        "To open an account, read and agree to the notice on personal data. The code just entered stays valid.",
    ),
)
ACCOUNT_BLOCKED = Problem(
    "account_blocked",
    403,
    vi=("Tài khoản đã bị khóa", "Tài khoản này đang bị khóa. Vui lòng liên hệ tổng đài hỗ trợ của tỉnh."),
    en=("Account blocked", "This account is blocked. Please contact the province's support line."),
)
SIGN_IN_FAILED = Problem(
    "sign_in_failed",
    401,
    vi=("Đăng nhập không thành công", "Email hoặc mật khẩu chưa đúng."),
    en=("Sign-in failed", "The e-mail address or the password is not right."),
)
SESSION_EXPIRED = Problem(
    "session_expired",
    401,
    vi=("Phiên đã kết thúc", "Phiên đăng nhập đã hết hạn hoặc đã đăng xuất. Vui lòng đăng nhập lại."),
    en=("Session ended", "The session has expired or was signed out. Please sign in again."),
)
SESSION_REUSED = Problem(
    "session_reused",
    401,
    vi=(
        "Phiên đã bị thu hồi",
        "Mã làm mới đã được dùng ở nơi khác nên phiên này bị thu hồi để bảo vệ bạn. Vui lòng đăng nhập lại.",
    ),
    en=(
        "Session revoked",
        "The refresh token was used elsewhere; to protect you the session was ended. Sign in again.",
    ),
)
EMAIL_INVALID = Problem(
    "email_invalid",
    422,
    vi=("Email chưa đúng", "Vui lòng nhập một địa chỉ email, ví dụ ten@thainguyen.gov.vn."),
    en=("E-mail not valid", "Enter an e-mail address, for example name@thainguyen.gov.vn."),
)
EMAIL_TAKEN = Problem(
    "email_taken",
    409,
    vi=("Email đã có tài khoản", "Địa chỉ email này đã thuộc về một tài khoản cán bộ."),
    en=("E-mail in use", "This e-mail address already belongs to a staff account."),
)
GRANT_INVALID = Problem(
    "grant_invalid",
    422,
    vi=("Vai trò chưa phù hợp", "Vai trò {role} không được cấp ở phạm vi này, hoặc đơn vị không tồn tại."),
    en=("Role does not fit", "The role {role} cannot be held in this scope, or there is no such unit."),
)

NAME_LENGTH = 100


def _text(value: str) -> str:
    cleaned = clean(value)
    if any(unicodedata.category(char) == "Cc" for char in cleaned):
        raise ValueError("the text holds control characters")
    return cleaned


# Kept whole as written: Vietnamese names begin with the family name and are never split.
Name = Annotated[str, AfterValidator(_text), Field(min_length=1, max_length=NAME_LENGTH, examples=["Nguyễn Thị Hương"])]
Label = Annotated[str, AfterValidator(_text), Field(min_length=1, max_length=64)]
ConsentVersion = Annotated[str, AfterValidator(_text), Field(min_length=1, max_length=20, examples=["2026-01"])]
Password = Annotated[str, Field(max_length=200, json_schema_extra={"format": "password", "writeOnly": True})]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CodeRequestIn(_Body):
    """Ask for a one-time code."""

    phone: str = Field(max_length=40, examples=["0912 345 678"])


class CodeRequestOut(BaseModel):
    """Always the same answer, whether or not the number has an account."""

    expires_in: int = Field(description="Seconds until the code dies.", examples=[300])
    digits: int = Field(default=CODE_DIGITS, examples=[CODE_DIGITS])


class CitizenSignInIn(_Body):
    """Phone and code. A number without an account gets one, for which consent is needed."""

    phone: str = Field(max_length=40, examples=["0912 345 678"])
    code: str = Field(max_length=12, examples=["381604"])
    consent_version: ConsentVersion | None = None
    name: Name | None = None
    device: Label | None = Field(default=None, description="The installation that signs in.", examples=["pixel-8"])


class StaffSignInIn(_Body):
    """E-mail and password."""

    email: str = Field(max_length=254, examples=["dieu.phoi@thainguyen.example"])
    password: Password
    device: Label | None = None


class RefreshIn(_Body):
    """The refresh token last received."""

    refresh_token: str = Field(max_length=200)


class AccountOut(BaseModel):
    """Whose session it is."""

    id: UUID
    kind: Literal["citizen", "staff"]


class SessionOut(BaseModel):
    """A session's tokens. The access token lives minutes; the refresh token is good for one renewal."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the name of a scheme
    expires_in: int = Field(description="Seconds until the access token dies.", examples=[900])
    refresh_token: str
    refresh_expires_at: datetime
    account: AccountOut


class GrantIn(_Body):
    """A role to be held: in a unit and below, or (no unit) in the whole province."""

    role: Role
    unit_id: UUID | None = None


class GrantOut(BaseModel):
    """A role held in a unit and below, or (no unit) in the whole province."""

    role: Role
    unit_id: UUID | None


class ConsentOut(BaseModel):
    """Which notice on personal data was agreed to, and when."""

    version: str
    at: datetime


class MeOut(BaseModel):
    """One's own account."""

    id: UUID
    kind: Literal["citizen", "staff"]
    name: str | None
    phone_masked: str | None
    email_masked: str | None
    locale: Literal["vi", "en"]
    grants: list[GrantOut]
    consent: ConsentOut | None
    created_at: datetime


class StaffIn(_Body):
    """A staff account to be opened."""

    email: str = Field(max_length=254, examples=["can.bo@thainguyen.example"])
    password: Annotated[Password, Field(min_length=10)]
    name: Name
    grants: list[GrantIn] = Field(min_length=1, max_length=20)


class StaffOut(BaseModel):
    """A staff account with the roles now in force."""

    id: UUID
    name: str | None
    email_masked: str | None
    status: Literal["active", "blocked", "erased"]
    grants: list[GrantOut]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PersonOut:
    """What a logged read of an identity gives: all to a dispatcher, the phone alone to a unit that may call."""

    account_id: UUID
    name: str | None
    phone: str | None
    email: str | None
