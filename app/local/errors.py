"""Everything that can keep this machine from running the platform: one sentence each.

LocalError                  the root; ``str(error)`` is the whole message for a person
+- AlreadyRunningError      a second `up` on the same home
+- NotRunningError          a command needs the platform and it is not there
+- PortInUseError           somebody else listens on the port
+- HomeError                PIXELMETER_HOME cannot hold the state
+- BinaryMissingError       a server's program was not found
+- AddressError             a given DATABASE_URL, REDIS_URL or STORAGE_URL does not work
+- StartFailedError         a process did not become ready
"""


class LocalError(Exception):
    """Raised when the platform cannot be started, found or stopped here; says what to do next."""


class AlreadyRunningError(LocalError):
    """Raised when a supervisor already holds this home; stop it first or name another home."""

    def __init__(self, message: str, *, pid: int) -> None:
        super().__init__(message)
        self.pid = pid


class NotRunningError(LocalError):
    """Raised when a command needs a running platform and none holds this home."""


class PortInUseError(LocalError):
    """Raised when the port is taken; another port or stopping the other program helps."""


class HomeError(LocalError):
    """Raised when PIXELMETER_HOME cannot be created or written."""


class BinaryMissingError(LocalError):
    """Raised when the program of an embedded server is missing; installing it helps."""


class AddressError(LocalError):
    """Raised when a server named by the environment cannot be used."""


class StartFailedError(LocalError):
    """Raised when a process died or stayed silent while the platform was starting."""
