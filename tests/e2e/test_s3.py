"""The whole platform on a real S3 server: from a resumable upload to a downloaded result."""

import hashlib
import os
from pathlib import Path

import httpx
from PIL import Image

from app.local.ports import free_port
from tests.app.s3_server import CREDENTIALS, running
from tests.e2e.conftest import MakeHome


def test_a_job_whose_files_live_in_s3_from_upload_to_download(
    make_home: MakeHome, tmp_path: Path
) -> None:
    picture = tmp_path / "large.tif"
    Image.frombytes("RGB", (2500, 2400), os.urandom(18_000_000)).save(picture)
    with running() as server:
        home = make_home(STORAGE_URL=server.url("platform"), **CREDENTIALS)
        home.run("up", "--detach", "--port", str(free_port()))
        with home.client() as client:
            uploaded = client.upload(picture)  # above 16 MiB: by tus, into a multipart upload
            job = client.submit(
                {
                    "engine": "detect",
                    "model": "builtin",
                    "input": {"target": {"file": uploaded["id"]}},
                    "params": {"annotate": True, "img_size": 320},
                }
            )
            done = client.wait(job["id"], timeout_s=120)
            assert done["status"] == "succeeded", done
            (output,) = done["output"]["files"]
            saved = client.download(output["url"], tmp_path / "result")
        content = saved.read_bytes()
        assert hashlib.sha256(content).hexdigest() == output["sha256"]
        with httpx.stream("GET", output["url"], headers={"Range": "bytes=-10"}) as part:
            assert part.status_code == 206
            assert part.read() == content[-10:]
        assert done["usage"]["tokens"] > 0
        names = server.names("platform/objects/")
        assert len(names) == 2
        assert server.names("platform/tails/") == server.unfinished() == []
        found = home.run("admin", "gc", "--dry-run").stdout
        assert "0 objects without a row, 0 rows without an object" in found
        assert "reconciles" in home.run("admin", "reconcile").stdout
        assert not list((home.folder / "files").glob("objects/*/*"))
        home.run("down")
