"""A real S3 server in a process of its own, with one bucket."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import boto3

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "AWS_DEFAULT_REGION": "eu-central-1",
}
BUCKET = "pictures"


@dataclass
class S3Server:
    """``moto``'s server; it keeps its objects in memory: after ``stop`` they are gone."""

    port: int
    _process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url(self, prefix: str) -> str:
        return f"s3://{BUCKET}/{prefix}?endpoint={self.endpoint}&region=eu-central-1"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **CREDENTIALS},
        )
        deadline = time.monotonic() + 60
        while True:
            assert time.monotonic() < deadline, "moto's server does not start"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                break
            time.sleep(0.05)
        self.client().create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )

    def reset(self) -> None:
        """Forget every object; start again if it was stopped."""
        if self._process is None:
            self.start()
            return
        for name in self.names():
            self.client().delete_object(Bucket=BUCKET, Key=name)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def client(self):
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="eu-central-1",
            aws_access_key_id="tests",
            aws_secret_access_key="tests",
        )

    def names(self, prefix: str = "") -> list[str]:
        """Every object of the bucket below a prefix."""
        answer = self.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [each["Key"] for each in answer.get("Contents", ())]

    def unfinished(self) -> list[str]:
        answer = self.client().list_multipart_uploads(Bucket=BUCKET)
        return [each["Key"] for each in answer.get("Uploads", ())]


@contextlib.contextmanager
def running() -> Iterator[S3Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    server = S3Server(port)
    server.start()
    try:
        yield server
    finally:
        server.stop()
