"""Operator commands: `phananh …`, or `python -m app.cli …`."""

import os
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from alembic import command
from alembic.config import Config

from app.catalog import actions as catalog
from app.core.config import ROOT, settings
from app.core.db import Session, transaction
from app.catalog.schemas import CategoriesFile, GroupsFile
from app.core.packfile import Finding, PackError, read_yaml
from app.deadlines import actions as deadlines
from app.identity.actions import audit
from app.orgunits import actions as orgunits
from app.routing import actions as routing

cli = typer.Typer(no_args_is_help=True, add_completion=False, help="phananh: phản ánh của người dân.")
pack = typer.Typer(no_args_is_help=True, help="The province pack: units, categories, policies, calendar.")
boundaries = typer.Typer(no_args_is_help=True, help="Commune boundaries, version by version.")
cli.add_typer(pack, name="pack")
cli.add_typer(boundaries, name="boundaries")

PackDir = Annotated[Path | None, typer.Argument(help="A province pack; the configured one by default.")]

SCHEDULER_ARGUMENTS = ("-m", "celery", "-A", "workers.schedule", "beat")
# Which modules a worker imports and which queues it drains: the photo worker never loads the geometry.
WORKERS = {
    "routing": (
        ("workers.routing", "workers.notifications", "workers.housekeeping"),
        "routing,notifications,housekeeping",
    ),
    "media": (("workers.media",), "media"),
}


def worker_arguments(kind: str, concurrency: int) -> list[str]:
    """The arguments to Python of one worker process."""
    modules, queues = WORKERS[kind]
    quick = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return [
        *("-m", "celery", "-A", "workers.celery_app", "worker", "-n", f"{kind}@%h", "-Q", queues),
        *("--include", ",".join(modules), "-c", str(concurrency), "-l", "WARNING", *quick),
    ]


def alembic_config() -> Config:
    """Alembic as pyproject.toml configures it, from any working directory."""
    config = Config(toml_file=ROOT / "pyproject.toml")
    config.set_main_option("script_location", str(ROOT / "migrations"))
    return config


def _become(*arguments: str) -> None:
    """Turn this process into another Python program, so that signals reach it."""
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - our own arguments


def load_pack(session: Session, where: Path) -> Iterator[str]:
    """Load every section of a pack in its order; yields a line for each."""
    yield f"units: {orgunits.load_units(session, where)}"
    yield f"catalogue: {catalog.load_catalog(session, where)}"
    yield f"calendar: {len(deadlines.load_calendar(session, where).entered)} entered"
    yield f"policies: {len(deadlines.load_policies(session, where).entered)} entered"
    yield f"routing rules: {routing.load_rules(session, where)} entered"
    yield f"boundaries: {orgunits.make_approximate(session, where)}"


def check_pack(where: Path) -> list[Finding]:
    """Every mistake in every section of a pack."""
    try:
        units = orgunits.codes_of(orgunits.read_units(where))
        codes = {category.code for category in read_yaml(where / "categories.yaml", CategoriesFile).categories}
        groups = {group.code for group in read_yaml(where / "groups.yaml", GroupsFile).groups}
    except PackError as error:
        return error.findings
    return [
        *catalog.check_catalog(where, units),
        *deadlines.check_pack(where, codes),
        *routing.check_rules(where, routing.Known(codes, groups, units)),
    ]


@cli.command()
def run(port: Annotated[int, typer.Option(help="Port of the HTTP server on 127.0.0.1.")] = 8000) -> None:
    """Start everything on this machine: database, broker, API, relay, workers, scheduler, demo data."""
    from app import processes  # noqa: PLC0415 - only this command needs the embedded servers

    sys.exit(processes.run(port=port))


@cli.command()
def migrate() -> None:
    """Bring the database to the newest tables (needs OWNER_DATABASE_URL)."""
    command.upgrade(alembic_config(), "head")
    typer.echo("migrated")


@cli.command()
def api(host: str = "0.0.0.0", port: int = 8000, processes: int = 2) -> None:  # noqa: S104 - in a container
    """Serve HTTP."""
    uvicorn.run("app.main:app", host=host, port=port, workers=processes, log_config=None, access_log=False)


@cli.command()
def relay() -> None:
    """Ring Celery for what is owed."""
    _become("-m", "workers.relay")


@cli.command()
def worker(kind: Annotated[str, typer.Argument(help="routing or media")] = "routing", concurrency: int = 2) -> None:
    """Drain what is owed: `routing` also sends notifications and keeps house, `media` makes photos."""
    _become(*worker_arguments(kind, concurrency))


@cli.command()
def scheduler() -> None:
    """Ring for what happens by the clock."""
    _become(*SCHEDULER_ARGUMENTS, "--schedule", str(settings().var_dir / "schedule"))


@pack.command("check")
def pack_check(pack_dir: PackDir = None) -> None:
    """Read a pack strictly and name every mistake with file, line and a sentence."""
    where = pack_dir or settings().province_pack
    findings = check_pack(where)
    for finding in findings:
        typer.echo(str(finding), err=True)
    if findings:
        raise typer.Exit(1)
    typer.echo(f"{where.name}: no mistake found")


@pack.command("load")
def pack_load(pack_dir: PackDir = None) -> None:
    """Load a pack: units, catalogue, calendar, policies, rules; approximate boundaries where there are none yet."""
    where = pack_dir or settings().province_pack
    try:
        with transaction() as session:
            for line in load_pack(session, where):
                typer.echo(line)
    except PackError as error:
        for finding in error.findings:
            typer.echo(str(finding), err=True)
        raise typer.Exit(1) from error


@boundaries.command("import")
def boundaries_import(
    path: Annotated[Path, typer.Argument(help="A GeoJSON file, or a folder of them.")],
    effective: Annotated[str, typer.Option(help="First day in force, YYYY-MM-DD.")],
    source: Annotated[str, typer.Option(help="Where the file comes from.")],
    licence: Annotated[str, typer.Option(help="Its licence.")] = "",
    note: str = "",
) -> None:
    """Import commune boundaries as a new version beside the old ones; a bad file changes nothing."""
    try:
        with transaction() as session:
            summary = orgunits.import_boundaries(
                session, path, effective_from=date.fromisoformat(effective), source=source, licence=licence, note=note
            )
            audit(session, None, "boundaries", str(summary.version_id), None, summary.audited())
            typer.echo(str(summary))
    except (orgunits.DeliveryError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def main() -> None:
    """The entry point of `phananh`."""
    cli()


if __name__ == "__main__":
    main()
