"""Devices of one's own; for administrators, messages that failed and what messages say."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter

from app.core import limits
from app.core.db import Db
from app.core.errors import NOT_FOUND
from app.core.paging import CursorText, Limit, Page, cut, decode_cursor
from app.identity.policy import SignedIn, Staff, Viewer, require
from app.identity.rules import Role
from app.notifications import actions, queries, rules
from app.notifications.models import Device
from app.notifications.schemas import (
    TEMPLATE_VARIABLE,
    DeviceIn,
    DeviceOut,
    FailedMessageOut,
    TemplateOut,
    TemplatePreviewIn,
)

router = APIRouter(prefix="/v1", tags=["notifications"])

_REGISTRATIONS = limits.Limit("devices", 60, 3600)


def _shown(device: Device, viewer: Viewer) -> DeviceOut:
    return DeviceOut.model_validate(
        device.model_dump(include=set(DeviceOut.model_fields))
        | {
            "provider": device.carrier,
            "current": device.session_id is not None and device.session_id == viewer.session_id,
        }
    )


@router.put("/me/devices/{installation_id}", operation_id="put_my_device", summary="Đăng ký thiết bị nhận thông báo")
def put_my_device(installation_id: UUID, body: DeviceIn, viewer: SignedIn, session: Db) -> DeviceOut:
    """Register this installation for push messages, or renew it; send it at each start and when the token changes.

    A token belongs to one account: the newest registration takes it over. Of more than ten devices the one unseen for
    longest ends. The device ends together with the session that registered it last.
    """
    limits.spend(_REGISTRATIONS, str(viewer.id))
    return _shown(actions.register_device(session, viewer, installation_id, body), viewer)


@router.get("/me/devices", operation_id="list_my_devices", summary="Thiết bị nhận thông báo của tôi")
def list_my_devices(viewer: SignedIn, session: Db) -> Page[DeviceOut]:
    """List one's own devices that receive push messages, the one seen last first; never more than ten."""
    return Page(items=[_shown(device, viewer) for device in queries.devices(session, [viewer.id])])


@router.delete(
    "/me/devices/{installation_id}",
    status_code=204,
    operation_id="delete_my_device",
    summary="Ngừng nhận thông báo trên thiết bị",
)
def delete_my_device(installation_id: UUID, viewer: SignedIn, session: Db) -> None:
    """End push messages to this installation, before signing out; ending what is not there is no error."""
    actions.end_device(session, viewer.id, installation_id)


@router.get("/notifications/templates", operation_id="list_message_templates", summary="Mẫu thông báo")
def list_message_templates(viewer: Staff) -> Page[TemplateOut]:
    """Show every message as it would arrive in both languages, with its channels; administrators only."""
    require(viewer, Role.ADMINISTRATOR)
    shown = (rules.preview(name) for name in sorted(rules.TEMPLATES))
    return Page(items=[TemplateOut.model_validate(found) for found in shown])


@router.post(
    "/notifications/templates/{name}/preview",
    operation_id="preview_message_template",
    summary="Xem trước mẫu thông báo",
)
def preview_message_template(name: str, body: TemplatePreviewIn, viewer: Staff) -> TemplateOut:
    """Show one message with the values given, in both languages; administrators only. Nothing is sent or stored."""
    require(viewer, Role.ADMINISTRATOR)
    known = rules.TEMPLATES.get(name)
    if known is None:
        raise NOT_FOUND.error()
    for variable in body.params.keys() - known.needs:
        told = ", ".join(sorted(known.needs)) or "–"
        raise TEMPLATE_VARIABLE.error(pointer="/params", template=name, variable=variable, known=told)
    return TemplateOut.model_validate(rules.preview(name, body.params))


@router.get("/messages/failed", operation_id="list_failed_messages", summary="Tin nhắn không gửi được")
def list_failed_messages(
    viewer: Staff, session: Db, limit: Limit = 50, cursor: CursorText = None
) -> Page[FailedMessageOut]:
    """List the messages nobody will try again, the latest first, with the reason; administrators only."""
    require(viewer, Role.ADMINISTRATOR)
    after: tuple[datetime, UUID] | None = None
    if cursor:
        at, message_id = decode_cursor(cursor, datetime, UUID)
        after = (at, message_id)
    rows = queries.failed(session, after=after, limit=limit + 1)
    items, following = cut(rows, limit, lambda row: (row.created_at, row.id))
    shown = [FailedMessageOut.model_validate(row, from_attributes=True) for row in items]
    return Page(items=shown, next_cursor=following)
