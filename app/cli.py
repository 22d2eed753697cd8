"""Operator commands: `phananh …`, or `python -m app.cli …`."""

import hashlib
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
import yaml
from alembic import command
from alembic.config import Config

from app import processes
from app.boundaries.actions import DeliveryError, ImportSummary, import_boundaries, make_approximate
from app.catalog import actions as catalog
from app.catalog.schemas import CategoriesFile, GroupsFile
from app.core.config import ROOT, settings
from app.core.db import Session, transaction
from app.core.models import ConfigVersion
from app.core.packfile import Finding, PackError, read_yaml
from app.core.versioned import bump
from app.deadlines import actions as deadlines
from app.identity.actions import audit
from app.orgunits import actions as orgunits
from app.orgunits.schemas import read_units
from app.routing import actions as routing

cli = typer.Typer(no_args_is_help=True, add_completion=False, help="phananh: phản ánh của người dân.")
pack = typer.Typer(no_args_is_help=True, help="The province pack: units, categories, policies, calendar.")
boundaries = typer.Typer(no_args_is_help=True, help="Commune boundaries, version by version.")
demo = typer.Typer(no_args_is_help=True, help="Demo data for a laptop.")
cli.add_typer(pack, name="pack")
cli.add_typer(demo, name="demo")
cli.add_typer(boundaries, name="boundaries")

PackDir = Annotated[Path | None, typer.Argument(help="A province pack; the configured one by default.")]


def alembic_config() -> Config:
    """Alembic as pyproject.toml configures it, from any working directory."""
    config = Config(toml_file=ROOT / "pyproject.toml")
    config.set_main_option("script_location", str(ROOT / "migrations"))
    return config


def load_pack(session: Session, where: Path) -> Iterator[str]:
    """Load every section of a pack in its order; yields a line for each."""
    yield f"units: {orgunits.load_units(session, where)}"
    yield f"catalogue: {catalog.load_catalog(session, where)}"
    yield f"calendar: {len(deadlines.load_calendar(session, where).entered)} entered"
    yield f"policies: {len(deadlines.load_policies(session, where).entered)} entered"
    yield f"routing rules: {routing.load_rules(session, where)} entered"
    yield f"boundaries: {make_approximate(session, where)}"


def digest(where: Path) -> str:
    """A name for the content of a pack: SHA-256 over its files and their places."""
    content = hashlib.sha256()
    for file in sorted(where.rglob("*.yaml")):
        content.update(str(file.relative_to(where)).encode() + b"\x00" + hashlib.sha256(file.read_bytes()).digest())
    return content.hexdigest()


def check_pack(where: Path) -> list[Finding]:
    """Every mistake in every section of a pack."""
    try:
        known = read_units(where)
        units = {unit.code for unit in (*known.communes.communes, *known.agencies.agencies)}
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
def run(
    port: Annotated[int, typer.Option(help="Port of the HTTP server on 127.0.0.1.")] = 8000,
    demo: Annotated[bool, typer.Option(help="Live through half a year of demo reports on the first start.")] = True,
) -> None:
    """Start everything on this machine: database, broker, API, relay, workers, scheduler, demo data."""
    sys.exit(processes.run(port=port, demo=demo))


@cli.command()
def migrate() -> None:
    """Bring the database to the newest tables (needs OWNER_DATABASE_URL)."""
    command.upgrade(alembic_config(), "head")
    typer.echo("migrated")


@cli.command()
def prepare() -> None:
    """Migrate, then load the configured pack where it is new: what every start on one machine begins with."""
    migrate()
    pack_load()


@cli.command()
def api(host: str = "127.0.0.1", port: Annotated[int, typer.Option(envvar="PORT")] = 8000) -> None:
    """Serve HTTP in one process."""
    processes.become(processes.api_argv("--host", host, "--port", str(port)))


@cli.command()
def openapi() -> None:
    """Print the contract with mobile apps, as the server serves it."""
    from app.main import app  # noqa: PLC0415 - the application is not needed by any other command

    typer.echo(yaml.safe_dump(app.openapi(), allow_unicode=True, sort_keys=False, width=120), nl=False)


@cli.command()
def relay() -> None:
    """Ring Celery for what is owed."""
    processes.become(processes.relay_argv())


@cli.command()
def worker(
    kind: Annotated[str, typer.Argument(help=" or ".join(processes.WORKERS))] = "routing",
    children: Annotated[int | None, typer.Option(help="How many tasks at a time.", min=1)] = None,
) -> None:
    """Drain what is owed: `routing`, `messages` (also keeps house) or `media` (makes photos)."""
    processes.become(processes.worker_argv(kind, children))


@cli.command()
def scheduler() -> None:
    """Ring for what happens by the clock."""
    processes.become(processes.scheduler_argv(settings().var_dir))


@demo.command("accounts")
def demo_accounts() -> None:
    """Make the demo accounts (a laptop's, never production's) and write them to var/demo.json."""
    processes.become([sys.executable, "-m", "tools.demo", "accounts"])


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
def pack_load(
    pack_dir: PackDir = None,
    again: Annotated[bool, typer.Option(help="Also where these very files were loaded before.")] = False,
) -> None:
    """Load a pack: units, catalogue, calendar, policies, rules, and approximate boundaries until there are others.

    Files that were loaded before are not loaded again by themselves: what an administrator changed since then stays.
    """
    where = pack_dir or settings().province_pack
    mark = f"pack {digest(where)}"
    try:
        with transaction() as session:
            if session.get(ConfigVersion, mark) and not again:
                typer.echo("unchanged")
                return
            for line in load_pack(session, where):
                typer.echo(line)
            bump(session, mark)
    except PackError as error:
        for finding in error.findings:
            typer.echo(str(finding), err=True)
        raise typer.Exit(1) from error


def _audited(summary: ImportSummary) -> dict[str, object]:
    return {"source": summary.source, "sha256": summary.sha256, "effective_from": str(summary.effective_from)}


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
            summary = import_boundaries(
                session, path, effective_from=date.fromisoformat(effective), source=source, licence=licence, note=note
            )
            audit(session, None, "boundaries", str(summary.version_id), None, _audited(summary))
            typer.echo(str(summary))
    except (DeliveryError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def main() -> None:
    """The entry point of `phananh`."""
    cli()


if __name__ == "__main__":
    main()
