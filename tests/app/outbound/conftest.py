"""The policy of production, and one that may reach this machine."""

import ssl
from collections.abc import Callable

import pytest

from app.outbound import (
    OutboundPolicy,
    OutboundReason,
    OutboundRefusedError,
)

HERE = frozenset({"127.0.0.1", "localhost", "hooks.test"})


@pytest.fixture(scope="module")
def tls() -> ssl.SSLContext:
    return ssl.create_default_context()


@pytest.fixture
def strict(tls: ssl.SSLContext) -> OutboundPolicy:
    return OutboundPolicy(tls=tls)


@pytest.fixture
def local(tls: ssl.SSLContext) -> OutboundPolicy:
    return OutboundPolicy(allow_hosts=HERE, tls=tls)


def reason_of(call: Callable[[], object]) -> OutboundReason:
    with pytest.raises(OutboundRefusedError) as refused:
        call()
    assert refused.value.code == refused.value.reason.value
    assert refused.value.status == 422
    return refused.value.reason
