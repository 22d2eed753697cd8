"""What a message says, and what becomes of it after each try. No input or output.

Texts hold a reference and a status, never the content of a report, a name or an address: they stand on lock screens
and pass through other people's networks. The one exception is the sign-in code, whose secret they carry.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol
from uuid import UUID

Locale = Literal["vi", "en"]
Channel = Literal["push", "sms", "email"]

# Templates ---------------------------------------------------------------------------------------------------------

REFERENCE = "reference"
CODE = "code"
# What may be stored with a message that is owed: opaque words, nothing personal.
PARAMS = frozenset({REFERENCE, "status", "report_id", "case_id"})


@dataclass(frozen=True, slots=True)
class Template:
    """One message in both languages; `{names}` are filled from its parameters."""

    vi: str
    en: str
    needs: frozenset[str] = frozenset({REFERENCE})
    secret: bool = False


TEMPLATES: Mapping[str, Template] = {
    "sign_in_code": Template(
        vi="Mã đăng nhập phananh của bạn là {code}, có hiệu lực trong 5 phút. Vui lòng không chia sẻ mã này.",
        en="Your phananh sign-in code is {code}, valid for 5 minutes. Please do not share it.",
        needs=frozenset(),
        secret=True,
    ),
    # To the person who reported.
    "report_received": Template(
        vi="Phản ánh {reference} đã được tiếp nhận và đang được xác minh. Xin cảm ơn bạn.",
        en="Report {reference} has been received and is being verified. Thank you.",
    ),
    "report_routed": Template(
        vi="Phản ánh {reference} đã được chuyển đến đơn vị có trách nhiệm xử lý.",
        en="Report {reference} has been passed on to the unit responsible.",
    ),
    "report_assigned": Template(
        vi="Phản ánh {reference} đã được chuyển đến đơn vị có trách nhiệm xử lý.",
        en="Report {reference} has been passed on to the unit responsible.",
    ),
    "report_accepted": Template(
        vi="Phản ánh {reference} đã được đơn vị tiếp nhận và đang được xử lý.",
        en="Report {reference} has been accepted by the unit and is in progress.",
    ),
    "report_question": Template(
        vi="Phản ánh {reference} cần bổ sung thông tin. Vui lòng mở ứng dụng để trả lời.",
        en="Report {reference} needs more information. Please open the app to answer.",
    ),
    "report_message": Template(
        vi="Có thông tin mới về phản ánh {reference}. Vui lòng mở ứng dụng để xem.",
        en="There is news about report {reference}. Please open the app to read it.",
    ),
    "report_resolved": Template(
        vi="Phản ánh {reference} đã được xử lý. Vui lòng mở ứng dụng để xem kết quả, xác nhận và đánh giá.",
        en="Report {reference} has been resolved. Please open the app to see the result, confirm and rate it.",
    ),
    "report_closed": Template(
        vi="Phản ánh {reference} đã đóng. Xin cảm ơn bạn đã góp ý.",
        en="Report {reference} has been closed. Thank you for your feedback.",
    ),
    "report_reopened": Template(
        vi="Phản ánh {reference} đã được mở lại và đang được xử lý tiếp.",
        en="Report {reference} has been reopened and is in progress again.",
    ),
    "report_rejected": Template(
        vi="Phản ánh {reference} đã bị từ chối. Vui lòng mở ứng dụng để xem lý do và nơi tiếp nhận phù hợp.",
        en="Report {reference} has been refused. Please open the app to see why and where to turn.",
    ),
    "report_recategorised": Template(
        vi="Lĩnh vực của phản ánh {reference} đã được đính chính, hạn xử lý được tính lại. Mời mở ứng dụng xem lý do.",
        en="The category of report {reference} was corrected, its deadline set anew. Please open the app to see why.",
    ),
    "report_urgency_set": Template(
        vi="Mức độ khẩn của phản ánh {reference} đã thay đổi, hạn xử lý được tính lại. Vui lòng mở ứng dụng để xem.",
        en="The urgency of report {reference} has changed, its deadline was set anew. Please open the app to see why.",
    ),
    "report_rerouted": Template(
        vi="Do đính chính vị trí hoặc lĩnh vực, phản ánh {reference} được chuyển đến đơn vị khác có trách nhiệm xử lý.",
        en="Its place or category was corrected: report {reference} is being passed on to another unit responsible.",
    ),
    "report_merged": Template(
        vi="Phản ánh {reference} trùng với một phản ánh khác và được theo dõi cùng phản ánh đó.",
        en="Report {reference} is a duplicate of another and is followed up together with it.",
    ),
    "report_withdrawn": Template(
        vi="Phản ánh {reference} đã được rút theo yêu cầu của bạn.",
        en="Report {reference} has been withdrawn as you asked.",
    ),
    # To staff.
    "case_assigned": Template(
        vi="Phản ánh {reference} đã được giao cho đơn vị của bạn.",
        en="Report {reference} has been assigned to your unit.",
    ),
    "case_urgent": Template(
        vi="KHẨN: phản ánh {reference} cần được xử lý ngay.",
        en="URGENT: report {reference} must be dealt with at once.",
    ),
    "case_returned": Template(
        vi="Phản ánh {reference} được đơn vị trả lại, cần chọn đơn vị khác.",
        en="Report {reference} was returned by the unit; another one must be chosen.",
    ),
    "case_due_soon": Template(
        vi="Phản ánh {reference} sắp đến hạn.",
        en="Report {reference} is due soon.",
    ),
    "case_overdue": Template(
        vi="Phản ánh {reference} đã quá hạn.",
        en="Report {reference} is overdue.",
    ),
}


class UnknownMessageError(Exception):
    """There is no such template, or its parameters are not the ones it may carry. A mistake in our code."""


def check(template: str, params: Mapping[str, str]) -> None:
    """Refuse what could never be sent, or would store something personal, before it is owed."""
    known = TEMPLATES.get(template)
    if known is None or not known.needs <= params.keys() or not params.keys() <= PARAMS:
        raise UnknownMessageError(f"{template} with {sorted(params)}")


def render(template: str, params: Mapping[str, str], locale: str, secret: str | None = None) -> str:
    """Write the text of a message."""
    known = TEMPLATES.get(template)
    if known is None or known.secret != (secret is not None):
        raise UnknownMessageError(template)
    values = {name: str(params[name]) for name in known.needs}
    if secret is not None:
        values[CODE] = secret
    return (known.en if locale == "en" else known.vi).format_map(values)


# Providers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message on its way to a provider. `id` stays the same over all tries: providers may drop repeats by it."""

    id: UUID
    to: str = field(repr=False)
    channel: Channel
    template: str
    locale: Locale
    text: str = field(repr=False)
    params: Mapping[str, str]
    code: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has it."""


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Not now; not before so many seconds."""

    seconds: float = 0


@dataclass(frozen=True, slots=True)
class Permanent:
    """Never: the reason as a code."""

    code: str


@dataclass(frozen=True, slots=True)
class TokenDead:
    """The installation it was for is gone."""


@dataclass(frozen=True, slots=True)
class QuotaExceeded:
    """Our own allowance is used up; the try does not count against the message."""

    seconds: float


Delivery = Accepted | RetryAfter | Permanent | TokenDead | QuotaExceeded


class Notifier(Protocol):
    """A provider. `send` may block for at most `SEND_TIMEOUT`; what it raises counts as a failed try."""

    def send(self, outgoing: Outgoing) -> Delivery:
        """Hand one message over and say what became of it."""


# What becomes of a row ---------------------------------------------------------------------------------------------

MAX_ATTEMPTS = 8
SEND_TIMEOUT = timedelta(seconds=5)
# A lease outlives a whole batch in which every single send takes all its time.
BATCH = 10
LEASE = SEND_TIMEOUT * (BATCH + 2)
# No batch is begun later than this, so that the last one ends before the task's own limit (two minutes).
SHIFT = timedelta(seconds=40)
_FIRST_PAUSE = timedelta(seconds=5)
_LONGEST_PAUSE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Sent:
    """It left."""


@dataclass(frozen=True, slots=True)
class Again:
    """Try again at this moment; `counted` tells whether the try just made counts."""

    at: datetime
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Failed:
    """It will not be tried again, and a person can see why."""

    code: str


Fate = Sent | Again | Failed


def hopeless(attempts: int, expires_at: datetime | None, *, recipient_active: bool, at: datetime) -> Failed | None:
    """Decide before a try whether to make it; `attempts` counts the try that is about to be made."""
    if attempts > MAX_ATTEMPTS:
        # Every try so far ended without an answer: the row itself brings its worker down.
        return Failed("attempts_exhausted")
    if expires_at is not None and expires_at <= at:
        return Failed("expired")
    return None if recipient_active else Failed("recipient_gone")


def fate(delivery: Delivery, attempts: int, at: datetime) -> Fate:
    """Decide what an answer means for its row after `attempts` tries."""
    match delivery:
        case Accepted():
            return Sent()
        case Permanent(code):
            return Failed(code)
        case TokenDead():
            return Failed("token_dead")
        case QuotaExceeded(seconds):
            return Again(at + max(timedelta(seconds=seconds), _FIRST_PAUSE), counted=False)
        case RetryAfter(seconds):
            if attempts >= MAX_ATTEMPTS:
                return Failed("attempts_exhausted")
            return Again(at + max(timedelta(seconds=seconds), pause(attempts)))


def pause(attempts: int) -> timedelta:
    """How long to wait after so many failed tries: 5 s, 20 s, 80 s … at most an hour."""
    return min(_FIRST_PAUSE * float(4 ** (attempts - 1)), _LONGEST_PAUSE)
