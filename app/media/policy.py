"""Who may see a picture, and the short-lived links that carry that answer."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from app.core import crypto
from app.core.db import Session
from app.identity.policy import PUBLIC, Viewer, citizen_viewer, staff_viewer
from app.media.models import Media
from app.media.schemas import Size

LINK_LIFETIME = timedelta(seconds=60)

# Which report a picture belongs to, and who may see that, is known above this slice; `main` passes it in.
MaySee = Callable[[Session, Viewer, Media], bool]


def readable(session: Session, viewer: Viewer, media: Media, may_see: MaySee) -> bool:
    """Whether `viewer` may see the derivatives: the owner always, others as the picture's report allows."""
    if media.delete_requested_at is not None:
        return False
    return owns(viewer, media) or may_see(session, viewer, media)


def owns(viewer: Viewer, media: Media) -> bool:
    """Whether `viewer` sent it."""
    return viewer.account_id is not None and viewer.account_id == media.owner_id


@dataclass(frozen=True, slots=True)
class Link:
    """One size of one picture, for one audience, for a minute.

    The audience is part of it so that serving can ask again: a report hidden, a right ended or a session closed
    stops every link at once, not after its minute.
    """

    media_id: UUID
    size: Size
    kind: str
    account_id: UUID | None
    session_id: UUID | None
    expires: int

    @classmethod
    def of(cls, media: Media, size: Size, viewer: Viewer, now: datetime) -> "Link":
        """A link for `viewer` that starts to expire now."""
        expires = int((now + LINK_LIFETIME).timestamp())
        return cls(media.id, size, viewer.kind, viewer.account_id, viewer.session_id, expires)

    def token(self) -> str:
        """As the last part of an address."""
        plain = "|".join(str(part or "") for part in self._parts())
        return f"{base64.urlsafe_b64encode(plain.encode()).decode().rstrip('=')}.{crypto.sign_link(_bound(plain))}"

    @classmethod
    def read(cls, token: str, now: datetime) -> "Link | None":
        """The link behind a token; None when it is not ours or has expired."""
        body, _, signature = token.partition(".")
        try:
            plain = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).decode()
        except (binascii.Error, ValueError):
            return None
        if not crypto.verify_link(_bound(plain), signature):
            return None
        media_id, size, kind, account_id, session_id, expires = plain.split("|")
        if int(expires) <= now.timestamp():
            return None
        account, opened = (UUID(text) if text else None for text in (account_id, session_id))
        return cls(UUID(media_id), size, kind, account, opened, int(expires))  # type: ignore[arg-type]

    def viewer(self, session: Session) -> Viewer | None:
        """Who the link was made for, with the rights in force now; None when blocked or signed out since."""
        if self.account_id is None:
            return PUBLIC
        if self.kind == "citizen":
            return citizen_viewer(self.account_id, self.session_id)
        return staff_viewer(session, self.account_id, self.session_id)

    def _parts(self) -> tuple[object, ...]:
        return self.media_id, self.size, self.kind, self.account_id, self.session_id, self.expires


def _bound(plain: str) -> str:
    return f"media-file|{plain}"
