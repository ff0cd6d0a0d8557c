"""What an engine may raise.

    EngineError
    +- InvalidInputError   the caller's picture, video or parameter: a retry never helps
    +- CanceledError       the run stopped at a checkpoint because somebody asked; no error
    +- ExhaustedError      this machine cannot (memory, disk): another attempt may
    +- EngineFaultError    ours: a model or the code misbehaved

``code`` is stable and becomes the job's error code; ``detail`` says what to do next.
"""


class EngineError(Exception):
    """The root; catch it to catch everything an engine says."""

    code = "engine_fault"
    retryable = False

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code


class InvalidInputError(EngineError):
    """Raised when the input or a parameter cannot be processed; the same input never will."""

    code = "invalid_input"


class CanceledError(EngineError):
    """Raised at a checkpoint after a cancel was requested or the lease was lost."""

    code = "canceled"


class ExhaustedError(EngineError):
    """Raised when memory, disk or time ran out here; a retry elsewhere may succeed."""

    code = "resources_exhausted"
    retryable = True


class EngineFaultError(EngineError):
    """Raised when a model or our own code misbehaves; nothing is charged."""

    code = "engine_fault"
    retryable = True
