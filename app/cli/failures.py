"""The failures that a person can do something about: shown as a sentence, never as a traceback."""

from app.client.errors import ClientError
from app.demo.errors import DemoError
from app.errors import ProblemError
from app.local.errors import LocalError
from app.settings import MissingSettingError
from billing.errors import BillingError
from engines.errors import EngineError

SHOWN = (
    BillingError,
    ClientError,
    DemoError,
    EngineError,
    LocalError,
    MissingSettingError,
    OSError,  # a folder that cannot be written, a full disk: the message names the path
    ProblemError,
)
