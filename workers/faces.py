"""The embeddings of one tenant's source faces, as an engine asks for them during a run."""

import logging

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.exc import SQLAlchemyError

from app.faces import embeddings
from workers.services import Services

log = logging.getLogger(__name__)


class TenantEmbeddings:
    """Implements ``engines.spec.EmbeddingCache``.

    A database that is away makes a face be embedded once more, and charged as such; it fails no
    job.
    """

    def __init__(self, services: Services, tenant_id: str) -> None:
        self._services = services
        self._tenant_id = tenant_id

    def get(self, model: str, sha256: str) -> NDArray[np.float32] | None:
        """The vector [D] kept for a content, if there is one."""
        try:
            with self._services.relaxed() as session:
                return embeddings.find(
                    session,
                    self._services.box,
                    tenant_id=self._tenant_id,
                    model=model,
                    sha256=sha256,
                )
        except SQLAlchemyError as error:
            log.warning("embeddings cannot be read now: %s", type(error).__name__)
            return None

    def put(self, model: str, sha256: str, vector: NDArray[np.float32]) -> None:
        """Keep a vector [D] for the tenant's next jobs."""
        try:
            with self._services.relaxed.begin() as session:
                embeddings.keep(
                    session,
                    self._services.box,
                    tenant_id=self._tenant_id,
                    model=model,
                    sha256=sha256,
                    vector=vector,
                )
        except SQLAlchemyError as error:
            # an erasure at the same moment is one of these; the values are not for the log
            log.warning("an embedding was not kept: %s", type(error).__name__)
