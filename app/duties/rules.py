"""Who is there to be told: roles as they are held now, and who is on duty. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

# Roles whose holders are told about cases; the others read or configure.
TOLD_ROLES = ("officer", "lead", "dispatcher", "leader")
# Who may be on duty: for a unit, and for the province.
UNIT_DUTY, PROVINCE_DUTY = ("officer", "lead"), ("dispatcher",)
LONGEST = timedelta(days=31)

# Account, role, unit (None: the province).
Held = tuple[UUID, str, UUID | None]
# Unit (None: the province), account.
OnDuty = tuple[UUID | None, UUID]
Accounts = frozenset[UUID]
NOBODY: Accounts = frozenset()


def period_fits(starts_at: datetime, ends_at: datetime, now: datetime) -> bool:
    """Whether a duty runs forward, has not ended yet and is no longer than a month."""
    return starts_at < ends_at and now < ends_at and ends_at - starts_at <= LONGEST


class People:
    """Who holds which role where and who is on duty, at one moment. A role in a unit reaches the units below it."""

    def __init__(
        self, held: Iterable[Held], on_duty: Iterable[OnDuty], parent_of: Callable[[UUID], UUID | None]
    ) -> None:
        self._held: Mapping[tuple[str, UUID | None], set[UUID]] = defaultdict(set)
        for account_id, role, unit_id in held:
            self._held[role, unit_id].add(account_id)
        self._known = NOBODY.union(*self._held.values())
        self._on_duty: Mapping[UUID | None, set[UUID]] = defaultdict(set)
        for unit_id, account_id in on_duty:
            self._on_duty[unit_id].add(account_id)
        self._parent_of = parent_of

    def is_there(self, account_id: UUID) -> bool:
        """Whether somebody holds any role: who was blocked or has left is told nothing."""
        return account_id in self._known

    def province(self, role: str) -> Accounts:
        """Who holds a role for the whole province."""
        return frozenset(self._held.get((role, None), ()))

    def nearest(self, role: str, unit_id: UUID | None) -> Accounts:
        """Who holds a role in a unit; where nobody does, in the nearest unit above, and at last for the province."""
        return self._climb(lambda unit: self._held.get((role, unit), set()), unit_id)

    def paged(self, unit_id: UUID | None) -> Accounts:
        """Whom an urgent case pages.

        Before a unit has it (None): the province's duty officer, else the dispatchers. At a unit: its duty officer or
        that of the nearest unit above; without one everybody who works there, and the province's as before.
        """
        centre = frozenset(self._on_duty.get(None, ())) or self.province("dispatcher")
        if unit_id is None:
            return centre
        on_duty = self._climb(lambda unit: self._on_duty.get(unit, set()) if unit else set(), unit_id)
        return on_duty or self.nearest("officer", unit_id) | self.nearest("lead", unit_id) | centre

    def _climb(self, found: Callable[[UUID | None], set[UUID]], unit_id: UUID | None) -> Accounts:
        here, passed = unit_id, set[UUID]()
        while here is not None and here not in passed:
            if there := found(here):
                return frozenset(there)
            passed.add(here)
            here = self._parent_of(here)
        return frozenset(found(None))
