"""The local files of a job, and what its results are named after."""

from app.jobs.lifecycle import claim
from workers.inputs import locate


def test_results_are_named_after_what_was_sent_and_not_after_where_it_lies(platform, tmp_path):
    with platform.sessions.begin() as session:
        claimed = claim(session, job_id=platform.submit(), worker="w", lease_s=60)
        [inputs] = locate(session, platform.services, [claimed])
    files = inputs.files(tmp_path / "inputs")
    assert files.stem == "astronaut"
    assert files.target.stem != "astronaut"
    assert len(files.__class__(files.target, files.target_info, label="x" * 255).stem) == 200
