"""The short form of ``make bench-uploads``: 64 MiB, broken four times, once by kill -9."""

from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker

from tests.app.live_api import LiveApi, live, tenant_with_tokens
from tests.bench.broken_uploads import MIB, make_video, upload_broken


def test_a_broken_upload_is_whole_and_its_server_stays_small(
    tmp_path: Path, database_url: str, sessions: sessionmaker[Session]
) -> None:
    key = tenant_with_tokens(sessions)[1]
    api = LiveApi(tmp_path / "home", database_url, f"file://{tmp_path / 'files'}")
    with live(api):
        small = make_video(tmp_path / "small.mp4", 8 * MIB)
        baseline = upload_broken(api, key, small, breaks=1, kills=0, seed=1)
        large = make_video(tmp_path / "large.mp4", 64 * MIB)
        done = upload_broken(api, key, large, breaks=4, kills=1, seed=1)
    assert (done.breaks, done.kills) == (4, 1)
    assert done.is_right
    assert baseline.is_right
    # The file itself would be 56 MiB more; what may differ is buffers of a few requests.
    assert done.peak_bytes < baseline.peak_bytes + 40 * MIB
