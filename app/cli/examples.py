"""Examples at the end of a command's help, kept line by line."""


def examples(*lines: str) -> str:
    """An epilog that click keeps as it is: a lone backspace character tells it so."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))
