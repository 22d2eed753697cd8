"""The image without a container engine: its Dockerfile is replayed to the health check. Slow; `.ci/run` does it."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import ROOT, Mark
from tools.replay_dockerfile import Step, is_ignored, parse


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Mark]:
    found = Mark(tmp_path)
    yield found
    for pid in found.alive():
        os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_dockerfile_replayed_in_a_clean_directory_becomes_healthy(mark: Mark) -> None:
    argv = [sys.executable, "-m", "tools.replay_dockerfile", "--place", str(mark.place)]
    answer = subprocess.run(
        argv, cwd=ROOT, env=mark.environment, text=True, capture_output=True, timeout=500, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "USER 10001:0" in answer.stdout
    assert "healthy after" in answer.stdout
    assert "every role stopped when asked" in answer.stdout
    assert not mark.alive()
    assert not list(mark.place.iterdir()), "nothing is left behind"


def test_the_image_runs_as_a_user_without_a_name_and_keeps_no_secret() -> None:
    steps = parse((ROOT / "Dockerfile").read_text())
    names = [step.name for step in steps]
    assert names.index("USER") > max(number for number, name in enumerate(names) if name in ("RUN", "COPY"))
    assert next(step for step in steps if step.name == "USER").rest == "10001:0"
    health = next(step for step in steps if step.name == "HEALTHCHECK")
    assert "/healthz" in health.rest
    assert json.loads(health.rest.removeprefix("CMD "))
    settings = [word.partition("=")[0] for step in steps if step.name == "ENV" for word in shlex.split(step.rest)]
    assert not [name for name in settings if name.endswith(("KEY", "URL", "PASSWORD"))]
    # Without it a forgotten key would be the published one, and anybody could sign an administrator's token.
    assert [step.rest for step in steps if "PHANANH_ENVIRONMENT=production" in step.rest]
    assert all("--require-hashes" in step.rest for step in steps if step.name == "RUN" and "pip install" in step.rest)


def test_a_dockerfile_is_read_as_docker_reads_it() -> None:
    text = (
        'FROM a AS b\n# a comment\nRUN one \\\n    && two\nCOPY --from=b --chown=1:1 /x /y\nCMD ["a", "b c"]\nCMD a b'
    )
    run, copy, exec_form, shell_form = parse(text)[1:]
    assert run == Step("RUN", {}, "one      && two")
    assert (copy.flags, copy.words) == ({"from": "b", "chown": "1:1"}, ["/x", "/y"])
    assert exec_form.command() == ["a", "b c"]
    assert shell_form.command() == ["/bin/sh", "-c", "a b"]


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("app/main.py", False),
        ("app/core/__pycache__/db.pyc", True),
        ("var/demo.json", True),
        (".venv/bin/python", True),
        ("deploy/requirements.lock", False),
        ("deploy/secrets.yaml", True),
        ("tests/conftest.py", True),
        (".git/config", True),
    ],
)
def test_only_what_the_image_needs_is_sent_to_the_build(path: str, ignored: bool) -> None:
    assert is_ignored(path, (ROOT / ".dockerignore").read_text().splitlines()) is ignored
