"""What every command gets: the settings, the terminal, and where this home's files are."""

from dataclasses import dataclass

import click
from rich.console import Console

from app.local.layout import Layout
from app.local.state import read_state
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """The command line's composition root; passed as ``ctx.obj``."""

    settings: Settings
    console: Console

    @property
    def layout(self) -> Layout:
        """The files of PIXELMETER_HOME."""
        return Layout(self.settings.home)

    def database_url(self) -> str:
        """The database of DATABASE_URL, else of the platform that runs in this home.

        Raises:
            NotRunningError: neither is there.
        """
        return self.settings.database_url or read_state(self.layout).database_url

    def storage_url(self) -> str:
        """The storage that belongs to ``database_url``."""
        if self.settings.database_url is not None:
            return self.settings.storage_url
        return read_state(self.layout).storage_url


pass_context = click.make_pass_decorator(Context)
