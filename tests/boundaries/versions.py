"""How many versions and areas there are, and how often they changed."""

from sqlmodel import Session, func, select

from app.boundaries.models import Boundary, BoundaryVersion
from app.core.models import ConfigVersion


def state(session: Session) -> tuple[int, int, int]:
    """Versions, areas, and the number of the configuration that processes look at."""
    session.expire_all()
    topic = select(ConfigVersion.version).where(ConfigVersion.topic == "boundaries")
    return (
        session.exec(select(func.count()).select_from(BoundaryVersion)).one(),
        session.exec(select(func.count()).select_from(Boundary)).one(),
        session.exec(topic).one(),
    )
