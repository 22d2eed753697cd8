"""Whose eyes the hashed bodies of events are for."""

from uuid import UUID

from app.identity.policy import Viewer


def may_see_body(viewer: Viewer, actor_id: UUID | None, *, is_author: bool) -> bool:
    """Whether somebody who may see a case may also see what of one event was hashed.

    A body names its actor by account, which would tell units and the public which cases one person reported. So an
    auditor, who gets them all in the export, sees each; an author those of the author's own steps and of the machine's.
    """
    if viewer.has("auditor"):
        return True
    return is_author and actor_id in (None, viewer.account_id)
