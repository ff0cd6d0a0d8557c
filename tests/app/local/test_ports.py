import os
import socket

import pytest

from app.local.errors import PortInUseError
from app.local.ports import LOOPBACK, free_port, require_free


def test_a_free_port_passes():
    require_free(free_port(), option="--port")


def test_a_busy_port_is_named_with_its_holder_and_the_option_that_helps():
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(PortInUseError) as caught:
            require_free(port, option="--port")
    message = str(caught.value)
    assert f"Port {port} is not free" in message
    assert f"pid {os.getpid()}" in message
    assert "--port" in message
