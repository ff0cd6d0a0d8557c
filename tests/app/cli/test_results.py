from app.cli.results import save_outputs


class FakeClient:
    """Downloads the url itself as content."""

    def download(self, url, destination):
        destination.write_text(url)
        return destination


def job_with(files, data=None):
    return {"engine": "detect", "output": {"files": files, "data": data or {}}}


def file(url="u1", media_type="image/png", name="../../etc/passwd"):
    return {"id": "file_1", "url": url, "media_type": media_type, "name": name}


def test_results_are_named_after_the_input_and_stay_in_the_folder(tmp_path):
    out = tmp_path / "out"
    job = job_with([file(), file("u2", "video/mp4")], {"predictions": [1]})
    saved = save_outputs(FakeClient(), job, out, stem="photo")
    assert [path.name for path in saved] == [
        "photo-detect.json",
        "photo-detect.png",
        "photo-detect.mp4",
    ]
    assert {path.parent for path in saved} == {out}
    assert (out / "photo-detect.png").read_text() == "u1"


def test_nothing_is_overwritten(tmp_path):
    for expected in ("photo-detect.png", "photo-detect-2.png", "photo-detect-3.png"):
        [path] = save_outputs(FakeClient(), job_with([file()]), tmp_path, stem="photo")
        assert path.name == expected


def test_a_job_without_output_saves_nothing_and_makes_no_folder(tmp_path):
    out = tmp_path / "out"
    assert save_outputs(FakeClient(), {"engine": "detect", "output": None}, out, stem="x") == []
    assert not out.exists()


def test_a_link_that_is_gone_is_left_out(tmp_path):
    assert save_outputs(FakeClient(), job_with([file(url=None)]), tmp_path, stem="x") == []
