"""What a message says, and what becomes of it after each try. No input or output.

Texts hold a reference and a status, never the content of a report, a name or an address: they stand on lock screens
and pass through other people's networks. The one exception is the sign-in code, whose secret they carry.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta, tzinfo
from string import Formatter
from typing import Literal, Protocol
from urllib.parse import urlsplit
from uuid import UUID, uuid5

Locale = Literal["vi", "en"]
Channel = Literal["push", "zns", "sms", "email"]
Carrier = Literal["console", "fcm", "apns", "webpush", "zns", "esms", "smtp"]

# Templates ---------------------------------------------------------------------------------------------------------

REFERENCE = "reference"
CODE = "code"
# What may be stored with a message that is owed: opaque words, nothing personal.
PARAMS = frozenset({REFERENCE, "status", "report_id", "case_id", "overdue", "soon", "references"})


class UnknownMessageError(Exception):
    """There is no such template, or its parameters are not the ones it may carry. A mistake in our code."""


@dataclass(frozen=True, slots=True)
class Template:
    """One message in both languages; `{names}` are filled from its parameters.

    A text with another name in it than `needs` says, or with none of these, cannot be made: the start stops here.
    """

    vi: str
    en: str
    needs: frozenset[str] = frozenset({REFERENCE})
    secret: bool = False

    def __post_init__(self) -> None:
        known = self.needs | ({CODE} if self.secret else set())
        for said in (self.vi, self.en):
            named = {name for _, name, _, _ in Formatter().parse(said) if name is not None}
            if named != known or not self.needs <= PARAMS:
                raise UnknownMessageError(f"{sorted(named)} where {sorted(known)} are meant: {said!r}")


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
        vi="Phản ánh {reference} đã được đơn vị tiếp nhận. Vui lòng mở ứng dụng để xem phiếu hẹn.",
        en="Report {reference} has been accepted by the unit. Please open the app to see what it promises.",
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
    "report_planned": Template(
        vi="Phản ánh {reference} đã được đưa vào kế hoạch xử lý. Vui lòng mở ứng dụng để xem thời gian dự kiến.",
        en="Report {reference} has been planned for. Please open the app to see for when.",
    ),
    "report_plan_due": Template(
        vi="Đã đến ngày dự kiến của phản ánh {reference}; đơn vị được giao xử lý tiếp.",
        en="The day planned for report {reference} has come; the unit takes it up again.",
    ),
    "report_unanswered": Template(
        vi="Chưa nhận được bổ sung cho phản ánh {reference}; đơn vị xử lý tiếp với thông tin hiện có.",
        en="No answer came about report {reference}; the unit goes on with what it knows.",
    ),
    "report_extended": Template(
        vi="Hạn xử lý phản ánh {reference} được gia hạn. Vui lòng mở ứng dụng để xem lý do và hạn mới.",
        en="The deadline of report {reference} was extended. Please open the app to see why and until when.",
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
    "report_unmerged": Template(
        vi="Phản ánh {reference} được xác định không trùng và được xử lý riêng.",
        en="Report {reference} turned out to be no duplicate and is dealt with on its own.",
    ),
    "report_followed": Template(
        vi="Phản ánh {reference} mà bạn cùng theo dõi vừa có tiến triển. Vui lòng mở ứng dụng để xem.",
        en="Report {reference}, which you follow, has moved on. Please open the app to read it.",
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
    "case_urgent_due_soon": Template(
        vi="KHẨN: phản ánh {reference} sắp đến hạn.",
        en="URGENT: report {reference} is due soon.",
    ),
    "case_urgent_overdue": Template(
        vi="KHẨN: phản ánh {reference} đã quá hạn, cần được xử lý ngay.",
        en="URGENT: report {reference} is overdue and must be dealt with at once.",
    ),
    # One letter a morning instead of a stream.
    "case_digest": Template(
        vi="Sáng nay có {overdue} phản ánh quá hạn, {soon} phản ánh sắp đến hạn, lâu nhất trước: {references}.",
        en="This morning {overdue} reports are overdue and {soon} due soon, the oldest first: {references}.",
        needs=frozenset({"overdue", "soon", "references"}),
    ),
}


# All that a lock screen shows beside the reference: the citizen's words for a state, DOMAIN.md.
STATUS_WORDS: Mapping[str, tuple[str, str]] = {
    "report_received": ("đang xác minh", "being verified"),
    "report_routed": ("đã chuyển xử lý", "passed on"),
    "report_assigned": ("đã chuyển xử lý", "passed on"),
    "report_accepted": ("đang xử lý", "in progress"),
    "report_question": ("chờ bổ sung", "needs information"),
    "report_resolved": ("đã xử lý", "resolved"),
    "report_planned": ("có kế hoạch", "planned"),
    "report_plan_due": ("đang xử lý", "in progress"),
    "report_unanswered": ("đang xử lý", "in progress"),
    "report_extended": ("gia hạn", "extended"),
    "report_closed": ("đã đóng", "closed"),
    "report_reopened": ("đang xử lý", "in progress"),
    "report_rejected": ("từ chối", "refused"),
    "report_recategorised": ("đổi lĩnh vực", "recategorised"),
    "report_urgency_set": ("đổi mức khẩn", "urgency changed"),
    "report_rerouted": ("đã chuyển xử lý", "passed on"),
    "report_merged": ("trùng", "duplicate"),
    "report_unmerged": ("xử lý riêng", "no duplicate"),
    "report_withdrawn": ("đã rút", "withdrawn"),
    "case_assigned": ("mới giao", "assigned"),
    "case_urgent": ("khẩn", "urgent"),
    "case_returned": ("trả lại", "returned"),
    "case_due_soon": ("sắp đến hạn", "due soon"),
    "case_overdue": ("quá hạn", "overdue"),
    "case_urgent_due_soon": ("khẩn, sắp đến hạn", "urgent, due soon"),
    "case_urgent_overdue": ("khẩn, quá hạn", "urgent, overdue"),
    "case_digest": ("việc đến hạn", "what is due"),
}
_NEWS = ("có tin mới", "news")


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


def push_words(template: str, params: Mapping[str, str], locale: str) -> tuple[str, str]:
    """Write what a push shows, title and body: the reference and a word for the state, nothing else.

    The title is a letter's subject as well; a message about several cases has the word alone.
    """
    words = STATUS_WORDS.get(template, _NEWS)
    word = words[1] if locale == "en" else words[0]
    return params.get(REFERENCE, word), word


# Devices -----------------------------------------------------------------------------------------------------------

MAX_DEVICES = 10


def push_origin_allowed(endpoint: str, origins: Sequence[str]) -> bool:
    """Whether an address that a browser brought belongs to a known push service; `https://*.a.b` allows one below a.b.

    The server calls that address: anything else would let a stranger choose what it calls.
    """
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.username is not None or parts.password is not None or not endpoint.isascii() or "\\" in endpoint:
        return False
    for origin in origins:
        known = urlsplit(origin)
        name = known.hostname or ""
        fits = host.endswith(name[1:]) if name.startswith("*.") else host == name
        if fits and (parts.scheme, port) == (known.scheme, known.port):
            return True
    return False


# Roads -------------------------------------------------------------------------------------------------------------

_NEWS_ROAD: tuple[Channel, ...] = ("push", "zns")
_FULL_ROAD: tuple[Channel, ...] = ("push", "zns", "sms")
_STAFF_ROAD: tuple[Channel, ...] = ("push", "email")
_NIGHT_ROAD: tuple[Channel, ...] = ("push", "sms", "email")
# The channels by which a message is tried, in order; the next one only when the one before leads nowhere. Progress is
# not worth a paid SMS; what a citizen must answer or should know in the end is. Others: the full road.
ROADS: Mapping[str, tuple[Channel, ...]] = {
    "report_received": _NEWS_ROAD,
    "report_routed": _NEWS_ROAD,
    "report_assigned": _NEWS_ROAD,
    "report_accepted": _NEWS_ROAD,
    "report_recategorised": _NEWS_ROAD,
    "report_urgency_set": _NEWS_ROAD,
    "report_rerouted": _NEWS_ROAD,
    "report_merged": _NEWS_ROAD,
    "report_unmerged": _NEWS_ROAD,
    "report_followed": _NEWS_ROAD,
    "report_withdrawn": _NEWS_ROAD,
    "case_assigned": _STAFF_ROAD,
    "case_returned": _STAFF_ROAD,
    "case_due_soon": _STAFF_ROAD,
    "case_overdue": _STAFF_ROAD,
    "case_urgent": _NIGHT_ROAD,
    "case_urgent_due_soon": _NIGHT_ROAD,
    "case_urgent_overdue": _NIGHT_ROAD,
    # Several references are nothing for a lock screen.
    "case_digest": ("email",),
}
# Somebody is waiting for it, or it is khẩn.
AT_ANY_HOUR = frozenset({"sign_in_code", "case_urgent", "case_urgent_due_soon", "case_urgent_overdue"})


def road(template: str, channel: Channel, *, addressed: bool) -> tuple[Channel, ...]:
    """Tell by which channels a message goes; one to a bare address by its own alone."""
    return (channel,) if addressed else ROADS.get(template, _FULL_ROAD)


_INVENTED = {REFERENCE: "7KQ4-M2XT", "overdue": "3", "soon": "5", "references": "7KQ4-M2XT, 4MX2-Q7KT, …"}


def preview(template: str, params: Mapping[str, str] | None = None) -> dict[str, object]:
    """Show a message as it would arrive, with these parameters, else with invented ones; a code is always invented."""
    known = TEMPLATES[template]
    shown = {name: _INVENTED[name] for name in known.needs} | dict(params or {})
    secret = "381604" if known.secret else None

    def texts(locale: Locale) -> dict[str, str]:
        title, body = ("", "") if known.secret else push_words(template, shown, locale)
        return {"push_title": title, "push_body": body, "text": render(template, shown, locale, secret)}

    channels = ("sms",) if known.secret else road(template, "push", addressed=False)
    return {
        "name": template,
        "channels": list(channels),
        "at_any_hour": template in AT_ANY_HOUR,
        "vi": texts("vi"),
        "en": texts("en"),
    }


# Quiet hours -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class QuietHours:
    """The local hours in which no phone rings, from `begin` up to `end`; over midnight where that is earlier."""

    begin: time
    end: time
    zone: tzinfo

    def until(self, at: datetime) -> datetime | None:
        """Tell when the quiet that lies over `at` ends; None outside of it. Equal hours mean no quiet at all."""
        local = at.astimezone(self.zone)
        clock = local.time()
        over_midnight = self.begin > self.end
        begun, not_ended = clock >= self.begin, clock < self.end
        if not (begun or not_ended if over_midnight else begun and not_ended):
            return None
        day = local.date() + timedelta(days=int(over_midnight and begun))
        return datetime.combine(day, self.end, self.zone).astimezone(at.tzinfo)


# What makes a phone ring; an e-mail waits until it is read, and the console is a file.
_RINGING: frozenset[Channel] = frozenset({"push", "zns", "sms"})


def held_until(
    template: str, legs: "Sequence[Leg]", quiet: QuietHours | None, *, waited_for: bool, at: datetime
) -> datetime | None:
    """Tell until when a message waits because it would make a phone ring at night; None: it may go."""
    if quiet is None or waited_for or template in AT_ANY_HOUR:
        return None
    if not any(target.channel in _RINGING and target.carrier != "console" for leg in legs for target in leg):
        return None
    return quiet.until(at)


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
    # Of a push: its title; `text` is then the word for the state.
    title: str = field(default="", repr=False)
    urgent: bool = False
    # One of the deliveries of a message: its own name over all tries.
    delivery_id: UUID | None = None


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


@dataclass(frozen=True, slots=True)
class NotAsked:
    """The provider fails again and again and is left alone for so many seconds; nothing was sent."""

    seconds: float


Delivery = Accepted | RetryAfter | Permanent | TokenDead | QuotaExceeded | NotAsked


class Notifier(Protocol):
    """A provider. `send` may block for at most `HOP_TIMEOUT`; what it raises counts as a failed try."""

    def send(self, outgoing: Outgoing) -> Delivery:
        """Hand one message over and say what became of it."""


# What becomes of a row ---------------------------------------------------------------------------------------------

MAX_ATTEMPTS = 8
# One delivery. No further one is begun in a try that has taken as long, so a whole try ends within SEND_TIMEOUT.
HOP_TIMEOUT = timedelta(seconds=2.5)
SEND_TIMEOUT = 2 * HOP_TIMEOUT
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
        case QuotaExceeded(seconds) | NotAsked(seconds):
            return Again(at + max(timedelta(seconds=seconds), _FIRST_PAUSE), counted=False)
        case RetryAfter(seconds):
            if attempts >= MAX_ATTEMPTS:
                return Failed("attempts_exhausted")
            return Again(at + max(timedelta(seconds=seconds), pause(attempts)))


def pause(attempts: int) -> timedelta:
    """How long to wait after so many failed tries: 5 s, 20 s, 80 s … at most an hour."""
    return min(_FIRST_PAUSE * float(4 ** (attempts - 1)), _LONGEST_PAUSE)


# Several deliveries of one message ---------------------------------------------------------------------------------

# How often one delivery is tried before the message goes on by the next channel, if there is one.
CHANNEL_TRIES = 2
# Or how old the message may become waiting for it.
PATIENCE = timedelta(minutes=15)
OUTCOMES: Mapping[type, str] = {
    Accepted: "accepted",
    RetryAfter: "retry",
    Permanent: "permanent",
    TokenDead: "token_dead",
    QuotaExceeded: "quota",
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where one delivery of a message goes: by which provider, to which device or to the account's own address."""

    channel: Channel
    carrier: Carrier
    device_id: UUID | None = None


Leg = Sequence[Target]


@dataclass(frozen=True, slots=True)
class Tried:
    """An answer got for a target: before, or in the try that goes on now."""

    target: Target
    delivery: Delivery
    now: bool = True


State = Literal["open", "accepted", "waiting", "refused"]


def delivery_id(message_id: UUID, target: Target) -> UUID:
    """Name one delivery, the same in every try, so that providers can drop repeats."""
    return uuid5(message_id, f"{target.channel}:{target.device_id}")


def state(target: Target, log: Sequence[Tried], age: timedelta, *, last: bool) -> State:
    """Tell how one delivery stands. On the last channel there is patience without end: `MAX_ATTEMPTS` ends it."""
    own = [tried for tried in log if tried.target == target]
    kinds = {type(tried.delivery) for tried in own}
    if Accepted in kinds:
        return "accepted"
    if kinds & {Permanent, TokenDead}:
        return "refused"
    now = [tried.delivery for tried in own if tried.now]
    if last:
        return "waiting" if now else "open"
    failures = sum(isinstance(tried.delivery, RetryAfter) for tried in own)
    pauses = [
        timedelta(seconds=answer.seconds) for answer in now if not isinstance(answer, Accepted | Permanent | TokenDead)
    ]
    if failures >= CHANNEL_TRIES or any(age + pause > PATIENCE for pause in pauses):
        return "refused"
    return "waiting" if now else "open"


def _open_road(legs: Sequence[Leg], log: Sequence[Tried]) -> Sequence[Leg]:
    """Leave, once somebody was reached, only that channel: its other devices are still owed, other channels are not."""
    reached = {tried.target.channel for tried in log if isinstance(tried.delivery, Accepted)}
    return [leg for leg in legs if leg[0].channel in reached] if reached else legs


def _states(legs: Sequence[Leg], log: Sequence[Tried], age: timedelta) -> Iterator[dict[Target, State]]:
    road = _open_road(legs, log)
    for place, leg in enumerate(road, start=1):
        yield {target: state(target, log, age, last=place == len(road)) for target in leg}


def next_target(legs: Sequence[Leg], log: Sequence[Tried], age: timedelta) -> Target | None:
    """Choose the delivery to make next; None when this try has no more to do.

    All targets of a channel are served, the least tried first. The next channel is for messages that nobody on this
    one accepted and nobody may still accept.
    """
    for states in _states(legs, log, age):
        ready = [target for target, found in states.items() if found == "open"]
        if ready:
            return min(ready, key=lambda target: sum(tried.target == target for tried in log))
        if {"accepted", "waiting"} & set(states.values()):
            return None
    return None


def verdict(legs: Sequence[Leg], log: Sequence[Tried], attempts: int, age: timedelta, at: datetime) -> Fate:
    """Decide what becomes of a message after a try: sent when somebody has it and no other device is still owed it."""
    reached = any(isinstance(tried.delivery, Accepted) for tried in log)
    failure = Failed("no_address")
    for states in _states(legs, log, age):
        if "open" in states.values():  # the try took too long
            return _unfinished(log, attempts, at)
        asked = [tried for tried in log if tried.now and states.get(tried.target) == "waiting"]
        pending = [fate(tried.delivery, attempts, at) for tried in asked]
        again = [found for found in pending if isinstance(found, Again)]
        if again:
            return Again(max(found.at for found in again), counted=any(found.counted for found in again))
        if pending and not reached:
            return Failed("attempts_exhausted")
        failure = next((Failed(_code(tried)) for tried in reversed(log) if tried.target in states), failure)
    return Sent() if reached else failure


def _unfinished(log: Sequence[Tried], attempts: int, at: datetime) -> Fate:
    """Go on soon with the targets that were not reached; the try counts if anything in it failed."""
    failed = any(tried.now and isinstance(tried.delivery, RetryAfter) for tried in log)
    if failed and attempts >= MAX_ATTEMPTS:
        return Sent() if any(isinstance(tried.delivery, Accepted) for tried in log) else Failed("attempts_exhausted")
    return Again(at + (pause(attempts) if failed else timedelta(0)), counted=failed)


def _code(tried: Tried) -> str:
    match tried.delivery:
        case Permanent(code):
            return code
        case TokenDead():
            return "token_dead"
        case _:
            return "attempts_exhausted"
