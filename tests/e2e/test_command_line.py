"""A customer's and an operator's commands against a running platform."""

import json
import re


def test_submit_saves_results_and_tells_what_they_cost(platform, photos, tmp_path):
    out = tmp_path / "results"
    done = platform.run(
        *("submit", "detect", str(photos.astronaut), str(photos.camera)),
        *("--model", "builtin", "--param", "annotate=true", "--out", str(out)),
    )
    assert {path.name for path in out.iterdir()} == {
        *("astronaut-detect.png", "astronaut-detect.json"),
        *("camera-detect.png", "camera-detect.json"),
    }
    assert json.loads((out / "astronaut-detect.json").read_text())["predictions"]
    assert len(re.findall(r"job_\w{26} +detect +succeeded", done.stdout)) == 2
    batch_id = re.search(r"batch_\w{26} is completed: 2 succeeded", done.stdout)[0].split()[0]
    assert re.search(rf"{batch_id} +completed +2 +2 +0", platform.run("batches").stdout)
    assert platform.run("batch", batch_id).stdout.count("succeeded") == 3
    retried = platform.run("batch", "retry", batch_id, check=False)
    assert "nothing to try again" in retried.stderr


def test_a_refused_file_does_not_keep_the_others_from_running(platform, photos, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("not a picture")
    done = platform.run("submit", "colorize", str(bad), str(photos.camera), "--wait", check=False)
    assert done.returncode == 1
    assert str(bad) in done.stderr
    assert re.search(r"job_\w{26} +colorize +succeeded", done.stdout)


def test_the_rest_of_the_client(platform, photos):
    quoted = platform.run(
        *("quote", "face-swap", str(photos.astronaut), "--source", str(photos.hopper), "--lines")
    )
    assert "6 tokens at most" in quoted.stdout
    assert "image, 1 x image" in quoted.stdout
    submitted = platform.run("submit", "detect", str(photos.camera), "--model", "builtin")
    job_id = re.search(r"job_\w{26}", submitted.stdout)[0]
    job = json.loads(platform.run("job", job_id, "--wait").stdout)
    assert (job["id"], job["status"]) == (job_id, "succeeded")
    assert job_id in platform.run("jobs", "--limit", "3", "--status", "succeeded").stdout
    assert "available" in platform.run("balance").stdout
    assert "settle" in platform.run("ledger", "--limit", "5").stdout
    canceled = platform.run("cancel", job_id, check=False)
    assert "Traceback" not in canceled.stderr


def test_an_operator_makes_a_tenant_whose_key_works(platform, photos):
    made = platform.run("admin", "tenants", "create", "acme", "--tokens", "50").stdout
    key = re.search(r"pm_live_\w+", made)[0]
    environment = {**platform.environment, "PIXELMETER_API_KEY": key}
    acme = type(platform)(platform.folder, environment)
    assert re.search(r"available +50\b", acme.run("balance").stdout)
    again = platform.run("admin", "tenants", "create", "acme", check=False)
    assert again.returncode == 1
    assert "acme" in again.stderr
    change = ("admin", "tenants", "change", "acme")
    moved = platform.run(*change, "--zone", "America/Havana", "--mode", "postpaid")
    assert "zone America/Havana, postpaid" in moved.stdout
    refused = platform.run(*change, "--zone", "Mars/Olympus", check=False)
    assert refused.returncode == 1
    assert "an IANA time zone" in refused.stderr
    platform.run("admin", "grant", "acme", "7")
    assert re.search(r"available +57\b", acme.run("balance").stdout)


def test_models_are_listed_with_what_is_here(platform):
    listed = platform.run("models", "list").stdout
    for model in ("builtin@1", "yolov8n@1", "yolov8x@1", "tiny@1", "classical@1"):
        assert model in listed
    platform.run("models", "verify")
