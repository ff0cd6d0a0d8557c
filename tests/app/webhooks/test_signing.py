import base64
import json
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from app.webhooks.signing import InvalidSecretError, headers, new_secret, secret_bytes, sign

BODY = '{"type":"job.succeeded","data":{"name":"caf\u00e9"}}'


def test_another_implementation_accepts_our_signature() -> None:
    secret = new_secret()
    now = int(datetime.now(UTC).timestamp())
    sent = headers(secret, "dlv_1", now, BODY)
    assert Webhook(secret).verify(BODY, sent) == json.loads(BODY)


def test_another_implementation_refuses_a_changed_body() -> None:
    secret = new_secret()
    sent = headers(secret, "dlv_1", int(datetime.now(UTC).timestamp()), BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY.replace("job", "jab"), sent)


def test_the_published_example_is_reproduced() -> None:
    # From the Standard Webhooks specification.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = '{"test": 2432232314}'
    value = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert value == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secrets_are_fresh_and_well_formed() -> None:
    assert new_secret() != new_secret()
    assert len(secret_bytes(new_secret())) == 32


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_!!!",
        base64.b64encode(b"x" * 32).decode(),
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whsec_\u00e9",
    ],
)
def test_malformed_secrets_are_refused(secret: str) -> None:
    with pytest.raises(InvalidSecretError):
        secret_bytes(secret)
