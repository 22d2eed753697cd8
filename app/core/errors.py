"""Errors are part of the product: a stable code, a sentence in Vietnamese and English, what to do next."""

from dataclasses import dataclass, field
from typing import Literal

Retry = Literal["never", "same_key", "after"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of refusal. `retry` tells a client whether sending again can help.

    never: change the request first. same_key: send the same request with the same Idempotency-Key.
    after: wait for Retry-After seconds, then send the same request.
    Texts may hold {names}, filled from the parameters given to `error`.
    """

    code: str
    status: int
    vi: tuple[str, str]
    en: tuple[str, str]
    retry: Retry = "never"

    def __post_init__(self) -> None:
        CATALOGUE[self.code] = self

    def error(
        self,
        *,
        pointer: str | None = None,
        headers: dict[str, str] | None = None,
        extra: dict[str, object] | None = None,
        **params: object,
    ) -> "DomainError":
        """The refusal as an exception. `pointer` names the field (RFC 6901), `extra` adds members to the body."""
        return DomainError(self, params, pointer, headers or {}, extra or {})


CATALOGUE: dict[str, Problem] = {}


@dataclass(eq=False)
class DomainError(Exception):
    """A refusal on its way to the caller; `core.http` turns it into application/problem+json."""

    problem: Problem
    params: dict[str, object] = field(default_factory=dict)
    pointer: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    extra: dict[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.problem.code} {self.params}"


NOT_FOUND = Problem(
    "not_found",
    404,
    vi=("Không tìm thấy", "Không có nội dung này, hoặc tài khoản của bạn không được xem."),
    en=("Not found", "There is nothing here, or your account may not see it."),
)
FORBIDDEN = Problem(
    "forbidden",
    403,
    vi=("Không được phép", "Vai trò của bạn không được thực hiện việc này."),
    en=("Not allowed", "Your role may not do this."),
)
UNAUTHENTICATED = Problem(
    "unauthenticated",
    401,
    vi=(
        "Cần đăng nhập",
        "Phiên đăng nhập thiếu hoặc đã hết hạn. Vui lòng đăng nhập lại; nội dung chưa gửi vẫn được giữ.",
    ),
    en=("Sign in", "The session is missing or has expired. Sign in again; what is queued stays queued."),
    retry="same_key",
)
INVALID = Problem(
    "invalid",
    422,
    vi=("Nội dung chưa hợp lệ", "Vui lòng sửa các mục được nêu rồi gửi lại."),
    en=("Not valid", "Correct the fields named below and send again."),
)
MALFORMED = Problem(
    "malformed",
    400,
    vi=("Yêu cầu không đọc được", "Nội dung gửi lên không phải JSON hợp lệ."),
    en=("Unreadable request", "The body is not valid JSON."),
)
TOO_LARGE = Problem(
    "too_large",
    413,
    vi=("Nội dung quá lớn", "Nội dung gửi lên vượt quá {limit_bytes} byte."),
    en=("Too large", "The body exceeds {limit_bytes} bytes."),
)
METHOD_NOT_ALLOWED = Problem(
    "method_not_allowed",
    405,
    vi=("Phương thức không được hỗ trợ", "Địa chỉ này không nhận phương thức vừa dùng."),
    en=("Method not allowed", "This address does not take that method."),
)
TOO_MANY = Problem(
    "too_many_requests",
    429,
    vi=("Quá nhiều yêu cầu", "Bạn đã thao tác quá nhanh. Vui lòng thử lại sau {seconds} giây."),
    en=("Too many requests", "Please try again in {seconds} seconds."),
    retry="after",
)
UNAVAILABLE = Problem(
    "unavailable",
    503,
    vi=("Hệ thống đang bận", "Vui lòng gửi lại sau ít phút; gửi lại cùng mã khóa sẽ không tạo bản trùng."),
    en=("Busy", "Send again in a few minutes; the same key never creates a duplicate."),
    retry="same_key",
)
INTERNAL = Problem(
    "internal",
    500,
    vi=("Lỗi hệ thống", "Đã xảy ra lỗi ngoài dự kiến. Vui lòng gửi lại; lỗi đã được ghi nhận với mã {request_id}."),
    en=("Unexpected error", "Something went wrong. Send again; the fault is recorded under {request_id}."),
    retry="same_key",
)
