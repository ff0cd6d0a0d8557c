"""What foreign weights are refused or stopped with; none of it helps to try again."""

from engines.errors import EngineError


class ForeignWeightsError(EngineError):
    """Raised when weights of a stranger are refused, or misbehave while they run."""

    code = "weights_unreadable"
    retryable = False
