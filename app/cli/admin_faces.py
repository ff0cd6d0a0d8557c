"""`pixelmeter admin faces`: faces that nobody may use, and the erasure of embeddings."""

import json
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.cli.on_database import ACTOR, tenant_id_of, transaction
from app.faces.blocklist import THRESHOLD, block, blocked_faces, unblock
from app.faces.embeddings import count, erase
from app.secret_box import open_secret_box
from app.settings import Settings
from engines.errors import EngineError
from engines.registry import Services

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(name="faces", short_help="Faces that nobody may use; embeddings.")
def faces() -> None:
    """Keep the list of blocked source faces, and erase what is kept of a tenant's faces."""


@faces.command(
    name="block",
    short_help="Refuse a face as a source.",
    epilog=examples(
        "pixelmeter admin faces block portrait.jpg --reason 'asked for by the person'",
        "pixelmeter admin faces block face.npy --model w600k_r50@1 --reason 'court order 7'",
    ),
)
@click.argument("face", type=_FILE)
@click.option("--model", help="Of a vector: the embedder that made it, data.embedder of results.")
@click.option("--reason", required=True, help="For other operators.")
@click.option("--threshold", type=float, default=THRESHOLD, show_default=True, help="Cosine.")
@pass_context
def block_command(
    context: Context, *, face: Path, model: str | None, reason: str, threshold: float
) -> None:
    """Refuse FACE as a source: a picture, or with --model a vector (.npy, or a JSON list).

    A picture is blocked for every embedder whose weights are here; block it again after bringing
    another one. The picture itself is not kept.
    """
    settings = context.settings
    box = open_secret_box(secret_key=settings.secret_key, home=settings.home)
    vectors = _seen_by_embedders(settings, face) if model is None else {model: _read(face)}
    with transaction(context) as session:
        made = [
            block(
                session,
                box,
                model=name,
                vector=vector,
                reason=reason,
                threshold=threshold,
                actor=ACTOR,
                now=datetime.now(UTC),
            )
            for name, vector in vectors.items()
        ]
    for each in made:
        click.echo(f"blocked {each.id} for {each.model}")


@faces.command(name="list", short_help="Show the blocked faces, newest first.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@pass_context
def list_command(context: Context, *, limit: int) -> None:
    """Show who is blocked since when and why; no vector is ever shown."""
    with transaction(context) as session:
        found = blocked_faces(session, limit=limit)
    table = Table("id", "embedder", "threshold", "since", "by", "reason", box=None)
    for face in found:
        since = face.created_at.isoformat(timespec="seconds")
        table.add_row(face.id, face.model, f"{face.threshold:g}", since, face.added_by, face.reason)
    context.console.print(table)


@faces.command(name="unblock", short_help="Let a face through again.")
@click.argument("face_id", metavar="ID")
@pass_context
def unblock_command(context: Context, *, face_id: str) -> None:
    """Let the blocked face ID through again and delete its vector."""
    with transaction(context) as session:
        unblock(session, face_id=face_id, actor=ACTOR, now=datetime.now(UTC))
    click.echo(f"{face_id} is let through.")


@faces.command(name="erase", short_help="Erase the embeddings of a tenant.")
@click.argument("tenant")
@pass_context
def erase_command(context: Context, *, tenant: str) -> None:
    """Make every embedding kept of TENANT's (name or id) source faces unreadable, at once."""
    with transaction(context) as session:
        tenant_id = tenant_id_of(session, tenant)
        erased = erase(session, tenant_id=tenant_id, actor=ACTOR, now=datetime.now(UTC))
        left = count(session, tenant_id=tenant_id).count
    click.echo(f"erased {erased} embeddings of {tenant}; {left} are left.")


def _seen_by_embedders(settings: Settings, picture: Path) -> dict[str, NDArray[np.float32]]:
    """The face of a picture by embedder; what is wrong with it is told."""
    # Networks are loaded for nothing else here.
    from app.engine_room import open_engines  # noqa: PLC0415
    from engines.face_swap.identity import identify  # noqa: PLC0415

    registry = open_engines(settings)
    services = Services(registry=registry, sessions=registry.sessions, limits=registry.limits)
    try:
        return identify(services, picture)
    except EngineError as error:
        message = f"{picture}: {error.detail}"
        raise click.ClickException(message) from error


def _read(path: Path) -> NDArray[np.float32]:
    """The numbers of a file; raises ``BadParameter`` for what holds none."""
    try:
        if path.suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)
        return np.asarray(json.loads(path.read_text(encoding="utf-8")), dtype=np.float32)
    except (ValueError, TypeError, EOFError) as error:
        message = f"{path} holds no vector; give a .npy file or a JSON list of numbers"
        raise click.BadParameter(message, param_hint="FACE") from error
