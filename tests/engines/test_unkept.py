"""Outside the platform a face is neither kept nor blocked."""

import numpy as np

from engines.local_runs import LocalContext
from engines.spec import RunContext


def context(tmp_path) -> RunContext:
    return LocalContext(tmp_path, lambda *_: None)


def test_nothing_that_was_put_is_given_back(tmp_path):
    embeddings = context(tmp_path).embeddings
    embeddings.put("net@1", "00" * 32, np.ones(4, dtype=np.float32))
    assert embeddings.get("net@1", "00" * 32) is None


def test_every_face_is_let_through(tmp_path):
    context(tmp_path).blocked_faces.check("net@1", np.ones(4, dtype=np.float32))
