"""Bring the database to this version's tables."""

from alembic import command
from alembic.config import Config

from app.local.errors import StartFailedError
from app.local.layout import CODE_ROOT


def migrate(database_url: str) -> None:
    """Run every migration that the database does not have yet; safe to repeat.

    Raises:
        StartFailedError: the folder of migrations is not beside the code.
    """
    scripts = CODE_ROOT / "alembic"
    if not (scripts / "env.py").is_file():
        message = (
            f"The migrations are missing in {scripts}. "
            "Install from a checkout with `pip install --editable .`."
        )
        raise StartFailedError(message)
    config = Config()
    # ConfigParser reads % as the start of a reference.
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["database_url"] = database_url
    command.upgrade(config, "head")
