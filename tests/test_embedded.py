"""The embedded servers: real ones, in directories of their own, killed and started again."""

import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from app import launch
from app.embedded import EmbeddedError, start_postgres, start_valkey
from tests.running import Mark, wait_for

START = """
import sys, pathlib, signal
from app.embedded import *
root = pathlib.Path(sys.argv[1])
try:
    postgres, valkey = start_postgres(root / "pg"), start_valkey(root / "vk")
except EmbeddedError as error:
    sys.exit(f"EmbeddedError: {error}")
print(postgres.owner_url, flush=True)
signal.pause()
"""


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Mark]:
    found = Mark(tmp_path)
    yield found
    for pid in found.alive():
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped cluster to copy: initdb once is enough."""
    place = tmp_path_factory.mktemp("cluster") / "pg"
    start_postgres(place, durable=False).stop()
    return place


@pytest.fixture
def place(cluster: Path, tmp_path: Path) -> Path:
    shutil.copytree(cluster, tmp_path / "pg")
    return tmp_path / "pg"


def scalar(url: str, statement: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(statement).fetchone()
        assert row
        return row[0]


def test_vietnamese_letters_survive_in_trigrams_and_in_lower_case(place: Path) -> None:
    with start_postgres(place, durable=False) as postgres:
        with psycopg.connect(postgres.owner_url, autocommit=True) as owner:
            for extension in ("pg_trgm", "unaccent", "btree_gist"):
                owner.execute(f"CREATE EXTENSION {extension}")
        assert scalar(postgres.app_url, "SELECT lower('ĐƯỜNG HỎNG')") == "đường hỏng"
        assert scalar(postgres.app_url, "SELECT similarity('đường hỏng', 'đương hong') < 0.7")
        assert scalar(postgres.app_url, "SELECT cardinality(show_trgm('đ'))") == 2
        assert scalar(postgres.app_url, "SHOW server_encoding") == "UTF8"


def test_the_application_role_owns_nothing_and_may_make_nothing(place: Path) -> None:
    with start_postgres(place, durable=False) as postgres:
        assert scalar(postgres.app_url, "SELECT current_user") == "phananh_app"
        rights = "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
        assert scalar(postgres.app_url, rights) is False
        with pytest.raises(psycopg.errors.InsufficientPrivilege), psycopg.connect(postgres.app_url) as connection:
            connection.execute("CREATE TABLE mine (id int)")
        with psycopg.connect(postgres.owner_url) as connection:
            connection.execute("CREATE TABLE ours (id int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), psycopg.connect(postgres.app_url) as connection:
            connection.execute("DROP TABLE ours")


def test_a_password_is_needed_and_other_addresses_are_closed(place: Path) -> None:
    with start_postgres(place, durable=False) as postgres:
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"postgresql://postgres:wrong@127.0.0.1:{postgres.port}/postgres")
        assert scalar(postgres.superuser_url, "SHOW listen_addresses") == "127.0.0.1"
        assert scalar(postgres.superuser_url, "SHOW unix_socket_directories") == ""


def test_databases_come_from_a_template_and_go(place: Path) -> None:
    with start_postgres(place, durable=False) as postgres:
        first = postgres.create_database("first")
        with psycopg.connect(first.owner_url) as connection:
            connection.execute("CREATE TABLE filled AS SELECT 7 AS n")
            connection.execute("GRANT SELECT ON filled TO phananh_app")
        second = postgres.create_database("second", template="first")
        still_connected = psycopg.connect(second.app_url, autocommit=True)
        assert still_connected.execute("SELECT n FROM filled").fetchone() == (7,)
        postgres.drop_database("second")
        still_connected.close()
        postgres.drop_database("second")
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(second.app_url)


def test_a_second_start_is_quick_and_keeps_the_data(tmp_path: Path) -> None:
    with start_postgres(tmp_path / "pg") as postgres, psycopg.connect(postgres.owner_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    started = time.monotonic()
    with start_postgres(tmp_path / "pg") as postgres:
        assert time.monotonic() - started < 3
        assert scalar(postgres.owner_url, "SELECT n FROM kept") == 1


def test_everything_under_the_data_directory_belongs_to_the_caller_and_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with start_postgres(tmp_path / "a" / "pg", durable=False), start_valkey(tmp_path / "a" / "vk"):
        files = [path for path in (tmp_path / "a").rglob("*") if path.exists()]
        assert len(files) > 500
        assert {path.stat().st_uid for path in files} == {os.geteuid()}
        assert tmp_path.stat().st_mode & 0o077 == 0, "a parent directory was opened up"
        assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "a" / "pg", tmp_path / "a" / "vk"))
        assert all(
            path.stat().st_mode & 0o077 == 0 for path in files if "secret" in path.name or path.suffix == ".conf"
        )


def test_postgres_runs_for_root_without_being_root(place: Path) -> None:
    with start_postgres(place, durable=False) as postgres:
        command = Path(f"/proc/{postgres.process.pid}/cmdline").read_text()
        assert command.split("\0")[0].endswith("pginstall/bin/postgres"), "the pid is the server's own"
        assert scalar(postgres.app_url, "SELECT 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_as_root_a_cluster_of_another_account_is_served_by_that_account_or_says_why_not(place: Path) -> None:
    for path in (place, *place.rglob("*")):
        os.chown(path, 65534, 65534)
    with pytest.raises(EmbeddedError, match="cannot enter") as refused:
        start_postgres(place, durable=False)
    assert str(place.parent.parent) in str(refused.value) or "/tmp" in str(refused.value)


def test_valkey_needs_its_password_and_never_evicts(tmp_path: Path) -> None:
    with start_valkey(tmp_path) as valkey:
        with redis.Redis.from_url(valkey.url) as client:
            assert client.ping()
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("bind") == {"bind": "127.0.0.1"}
        with redis.Redis(port=valkey.port) as stranger, pytest.raises(redis.exceptions.AuthenticationError):
            stranger.ping()
        command = Path(f"/proc/{valkey.process.pid}/cmdline").read_text()
        assert "valkey.conf" in command
        assert valkey.url.split("@")[0].rsplit(":")[-1] not in command, "no password on a command line"
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", valkey.port))


def test_after_kill_9_nothing_is_left_and_the_next_start_has_the_data(tmp_path: Path, mark: Mark) -> None:
    for round_ in range(3):
        starter = mark.start(START, tmp_path)
        assert starter.stdout
        url = starter.stdout.readline().strip()
        assert url.startswith("postgresql://"), url
        assert any("pginstall" in line for line in mark.alive().values())
        assert any("valkey" in line for line in mark.alive().values())
        connection = psycopg.connect(url)
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("INSERT INTO kept SELECT generate_series(1, 20000)")
        connection.commit()
        connection.execute("INSERT INTO kept SELECT generate_series(1, 20000)")  # never committed
        starter.kill()
        starter.communicate()
        # At once, while the old server may still be on its way out.
        with start_postgres(tmp_path / "pg") as postgres:
            assert scalar(postgres.owner_url, "SELECT count(*) FROM kept") == 20000 * (round_ + 1)
        connection.close()
        wait_for(lambda: not mark.alive(), "the end of every descendant")


def test_a_first_start_cut_off_in_the_middle_is_done_again(tmp_path: Path, mark: Mark) -> None:
    fresh = tmp_path / "pg" / "cluster.new"
    for landmark in ("PG_VERSION", "global/pg_control", "base/1/PG_VERSION"):
        shutil.rmtree(tmp_path / "pg", ignore_errors=True)
        starter = mark.start(START, tmp_path)
        wait_for((fresh / landmark).exists, landmark)
        starter.kill()
        starter.communicate()
        assert not (tmp_path / "pg" / "cluster").exists()
        with start_postgres(tmp_path / "pg", durable=False) as postgres:
            assert scalar(postgres.app_url, "SELECT 1") == 1
        assert not fresh.exists()
        assert not (tmp_path / "pg" / "password.new").exists()


def test_roles_missing_after_a_crash_are_made_by_the_next_start(place: Path) -> None:
    with start_postgres(place, durable=False) as postgres:
        postgres.drop_database("phananh")
        with psycopg.connect(postgres.superuser_url.replace("/phananh", "/postgres"), autocommit=True) as connection:
            connection.execute("DROP ROLE phananh_app")
    with start_postgres(place, durable=False) as postgres:
        assert scalar(postgres.app_url, "SELECT current_database()") == "phananh"


def test_a_stale_pid_file_that_names_a_living_stranger_does_not_refuse_the_start(place: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (place / "cluster" / "postmaster.pid").write_text(f"{stranger.pid}\n{place}/cluster\n1\n5432\n\n127.0.0.1\n")
        with start_postgres(place, durable=False) as postgres:
            assert scalar(postgres.app_url, "SELECT 1") == 1
        stranger.kill()


def test_a_directory_is_used_by_one_process_at_a_time(place: Path, tmp_path: Path) -> None:
    with start_postgres(place, durable=False), pytest.raises(EmbeddedError, match="in use by another running process"):
        start_postgres(place, durable=False)
    with start_valkey(tmp_path / "vk"), pytest.raises(EmbeddedError, match="in use by another running process"):
        start_valkey(tmp_path / "vk")
    with start_valkey(tmp_path / "vk"):
        pass


def test_a_taken_port_is_one_clear_sentence_and_leaves_nothing(place: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for start in (lambda: start_postgres(place, port=port), lambda: start_valkey(tmp_path / "vk", port=port)):
            with pytest.raises(EmbeddedError, match=rf"^Port {port} on 127\.0\.0\.1 is taken: .*\.$"):
                start()
    with start_postgres(place, port=port, durable=False) as postgres:
        assert postgres.port == port


def as_ordinary_user(mark: Mark, code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run code as somebody whom permissions stop: for root behind a stand-in uid, which has no privileges left."""
    ids = launch.ordinary_account()
    rights = launch.Rights(stand_in=ids) if os.geteuid() == 0 else launch.CALLER
    argv = launch.command([sys.executable, "-c", code, *arguments], signal.SIGKILL, rights)
    return subprocess.run(argv, env=mark.environment, text=True, capture_output=True, timeout=60, check=False)


def test_an_unwritable_directory_is_one_clear_sentence(tmp_path: Path, mark: Mark) -> None:
    tmp_path.chmod(0o500)
    answer = as_ordinary_user(mark, START, tmp_path)
    tmp_path.chmod(0o700)
    assert answer.stderr.startswith("EmbeddedError: ")
    assert "cannot be written by this user" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_an_ordinary_user_needs_no_privilege(tmp_path: Path, mark: Mark) -> None:
    code = START.replace("signal.pause()", "postgres.stop(); valkey.stop()")
    answer = as_ordinary_user(mark, code, tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("postgresql://")


@pytest.mark.parametrize("megabytes", [8, 230])
def test_a_full_disk_is_one_clear_sentence_and_room_makes_it_start(tmp_path: Path, mark: Mark, megabytes: int) -> None:
    """8 MB are refused before initdb; 230 MB are enough to begin with and run out when others fill the disk."""
    script = f"""
        set -e
        mount -t tmpfs -o size={megabytes}m tmpfs {tmp_path}
        if [ {megabytes} -gt 200 ]; then
            (until [ -d {tmp_path}/pg/cluster.new ]; do :; done
            cat /dev/zero > {tmp_path}/filler || true) 2>/dev/null &
        fi
        {sys.executable} -c '{START}' {tmp_path} && exit 1
        wait
        rm -f {tmp_path}/filler
        mount -o remount,size=400m {tmp_path}
        {sys.executable} -c '{START.replace("signal.pause()", "postgres.stop(); valkey.stop()")}' {tmp_path}
    """
    inside = ["unshare", "--user", "--map-root-user", "--mount"]
    trial = [*inside, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
    if subprocess.run(trial, capture_output=True, check=False).returncode:
        pytest.skip("no mounts in a user namespace here")
    answer = subprocess.run(
        [*inside, "sh", "-c", script], env=mark.environment, text=True, capture_output=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stderr
    told = [line for line in answer.stderr.splitlines() if line.startswith("EmbeddedError")]
    assert len(told) == 1
    assert "The disk is full" in told[0]
    assert answer.stdout.startswith("postgresql://")


def test_another_platform_is_told_to_bring_its_own_servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(EmbeddedError, match="set DATABASE_URL and REDIS_URL"):
        start_postgres(tmp_path)


def test_only_the_main_thread_may_spawn() -> None:
    """The leash is tied to the thread that forked: a helper thread's end would kill the server."""
    refused: list[str] = []

    def spawn() -> None:
        try:
            launch.spawn(["true"])
        except RuntimeError as error:
            refused.append(str(error))

    helper = threading.Thread(target=spawn)
    helper.start()
    helper.join()
    assert refused == ["only the main thread may spawn: the leash is tied to the thread"]


def test_a_forked_child_dies_with_its_parent(mark: Mark) -> None:
    """As Celery's pool children do: forked, without an exec, from a parent that is killed."""
    code = """
import os, signal
from app.embedded import die_with_parent
parent = os.getpid()
if os.fork() == 0:
    die_with_parent(signal.SIGKILL, parent=parent)
    print("ready", flush=True)
signal.pause()
"""
    parent = mark.start(code)
    assert parent.stdout
    assert parent.stdout.readline() == "ready\n"
    assert len(mark.alive()) == 2
    parent.kill()
    parent.communicate()
    wait_for(lambda: not mark.alive(), "the end of the child")


def test_a_child_whose_parent_is_already_gone_ends_at_once() -> None:
    argv = launch.command(["sleep", "60"], signal.SIGTERM)
    argv[argv.index(str(os.getpid()))] = "1"  # a parent that is not ours
    assert subprocess.run(argv, check=False, timeout=10).returncode == -signal.SIGKILL
