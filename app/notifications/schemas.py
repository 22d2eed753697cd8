"""What notifications say on the wire, and what they refuse."""

import base64
import binascii
from datetime import datetime
from functools import cache
from typing import Annotated, Literal
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.core.errors import Problem

PUSH_SERVICE_UNKNOWN = Problem(
    "push_service_unknown",
    422,
    vi=(
        "Dịch vụ thông báo đẩy chưa được hỗ trợ",
        "Trình duyệt này dùng một dịch vụ chưa được hỗ trợ. Bạn vẫn nhận được thông báo qua Zalo hoặc tin nhắn.",
    ),
    en=(
        "Push service not supported",
        "This browser uses a push service that is not supported. Messages still reach you by Zalo or SMS.",
    ),
)

TEMPLATE_VARIABLE = Problem(
    "template_variable_unknown",
    422,
    vi=("Mẫu không có biến này", "Mẫu {template} không dùng biến {variable}. Các biến của mẫu: {known}."),
    en=("No such variable", "The template {template} has no variable {variable}. Its variables: {known}."),
)

_POINT_BYTES, _AUTH_BYTES = 65, 16


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(value: str) -> str:
    if value not in _zones():
        raise ValueError("is no time zone")
    return value


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("is no base64url") from error


def _point(value: str) -> str:
    data = _decoded(value)
    if len(data) != _POINT_BYTES or data[0] != 4:  # noqa: PLR2004 - SEC 1: an uncompressed point
        raise ValueError("is no uncompressed P-256 point")
    return value


def _auth(value: str) -> str:
    if len(_decoded(value)) != _AUTH_BYTES:
        raise ValueError("must be 16 bytes")
    return value


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _DeviceIn(_Body):
    locale: Literal["vi", "en"] = "vi"
    app_version: str = Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+_-]{0,31}$", examples=["1.4.0"])
    time_zone: Annotated[str, AfterValidator(_zone), Field(max_length=64, examples=["Asia/Ho_Chi_Minh"])]


class FcmDeviceIn(_DeviceIn):
    """An installation that Firebase Cloud Messaging reaches."""

    provider: Literal["fcm"]
    platform: Literal["android", "ios", "web"]
    token: str = Field(pattern=r"^[\x21-\x7e]{16,4096}$", json_schema_extra={"writeOnly": True})


class ApnsDeviceIn(_DeviceIn):
    """An installation that Apple's push service reaches."""

    provider: Literal["apns"]
    platform: Literal["ios"] = "ios"
    token: str = Field(pattern=r"^[0-9a-fA-F]{64,200}$", json_schema_extra={"writeOnly": True})


class SubscriptionKeysIn(_Body):
    """The keys of a browser's subscription, base64url."""

    p256dh: Annotated[str, AfterValidator(_point), Field(max_length=100)]
    auth: Annotated[str, AfterValidator(_auth), Field(max_length=30)]


class SubscriptionIn(_Body):
    """A browser's push subscription (`PushSubscription.toJSON()` without its expiration time)."""

    endpoint: str = Field(pattern=r"^https?://[\x21-\x7e]+$", max_length=2048)
    keys: SubscriptionKeysIn


class WebPushDeviceIn(_DeviceIn):
    """A browser that Web Push reaches."""

    provider: Literal["webpush"]
    platform: Literal["web"] = "web"
    subscription: SubscriptionIn = Field(json_schema_extra={"writeOnly": True})


DeviceIn = Annotated[FcmDeviceIn | ApnsDeviceIn | WebPushDeviceIn, Field(discriminator="provider")]


class DeviceOut(BaseModel):
    """A device of one's own that receives push messages; never its token."""

    installation_id: UUID
    platform: Literal["android", "ios", "web"]
    provider: Literal["fcm", "apns", "webpush"]
    locale: Literal["vi", "en"]
    app_version: str
    time_zone: str
    registered_at: datetime
    seen_at: datetime
    current: bool = Field(description="It was registered in the session that asks.")


class TemplateTextOut(BaseModel):
    """A message as it would be shown in one language, with an invented reference."""

    push_title: str
    push_body: str
    text: str = Field(description="By Zalo, SMS and e-mail.")


class TemplateOut(BaseModel):
    """A message the system may send."""

    name: str = Field(examples=["report_resolved"])
    channels: list[Literal["push", "zns", "sms", "email"]] = Field(description="In the order in which they are tried.")
    at_any_hour: bool = Field(description="Sent in quiet hours too.")
    vi: TemplateTextOut
    en: TemplateTextOut


class TemplatePreviewIn(_Body):
    """The values to try a message with; what is left out is invented."""

    params: dict[str, Annotated[str, Field(max_length=300)]] = Field(
        default_factory=dict, max_length=10, examples=[{"reference": "7KQ4-M2XT"}]
    )


class FailedMessageOut(BaseModel):
    """A message that was given up: to whom it was owed and why it failed; never what it said."""

    id: UUID
    template: str
    channel: Literal["push", "sms", "email"]
    account_id: UUID | None
    case_id: UUID | None
    attempts: int
    failure_code: str
    created_at: datetime
