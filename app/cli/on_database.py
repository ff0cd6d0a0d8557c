"""One transaction on the database of this installation, for commands that act without the API."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from app.cli.context import Context
from app.db import open_engine, session_factory
from app.local.errors import AddressError
from app.tenants.service import find_tenants

ACTOR = "cli"  # whom the log names: whoever may run commands on this machine


@contextmanager
def sessions(context: Context) -> Iterator[sessionmaker[Session]]:
    """The same for commands that need several transactions."""
    engine = open_engine(context.database_url(), pool_size=1)
    try:
        yield session_factory(engine)
    except OperationalError as error:
        message = f"The database does not answer: {error.orig}"
        raise AddressError(message) from error
    finally:
        engine.dispose()


@contextmanager
def transaction(context: Context) -> Iterator[Session]:
    """A session on DATABASE_URL, else on the platform that runs in this PIXELMETER_HOME."""
    with sessions(context) as factory, factory.begin() as session:
        yield session


def tenant_id_of(session: Session, name_or_id: str) -> str:
    """The id of the tenant with this name or id."""
    found = find_tenants(session, names_or_ids=[name_or_id])
    if name_or_id not in found:
        message = f"There is no tenant {name_or_id!r}."
        raise click.ClickException(message)
    return found[name_or_id].id
