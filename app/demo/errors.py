"""What can keep the demo from running."""


class DemoError(Exception):
    """Raised when the demo cannot start or go on; ``str(error)`` says what to do."""
