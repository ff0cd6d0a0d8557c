"""The list of blocked faces, as an engine asks it during a run."""

import logging

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from app.faces.blocklist import Blocked, is_any_blocked, load
from app.secret_box import SecretBox, SecretError
from engines.errors import ExhaustedError, InvalidInputError

log = logging.getLogger(__name__)


class BlockedFaces:
    """Implements ``engines.spec.FaceBlocklist`` for every run of this process.

    What was opened is kept until the list changes, which each check asks the database. A list that
    cannot be read lets nobody through.
    """

    def __init__(self, sessions: sessionmaker[Session], box: SecretBox) -> None:
        self._sessions = sessions
        self._box = box
        self._known: dict[str, Blocked] = {}  # threads may race: one opens the list in vain

    def check_unseen(self) -> None:
        """Refuse a face that nothing here can compare, as long as any face is blocked."""
        try:
            with self._sessions() as session:
                may_be_blocked = is_any_blocked(session)
        except SQLAlchemyError as error:
            log.error("blocked faces cannot be read: %s", type(error).__name__)  # noqa: TRY400
            may_be_blocked = True
        if may_be_blocked:
            message = (
                "Some faces may not be used here and this worker has no weights that tell faces "
                "apart; nothing is charged. The operators have to bring an embedder."
            )
            raise ExhaustedError(message, code="blocklist_unavailable")

    def check(self, model: str, vector: NDArray[np.float32]) -> None:
        """Refuse a blocked source face; raises code ``face_blocked``."""
        try:
            with self._sessions() as session:
                blocked = load(session, self._box, model=model, known=self._known.get(model))
            is_blocked = blocked.holds(vector)
        except (SQLAlchemyError, SecretError, ValueError) as error:
            # by its name alone: a trace or a statement may show values
            log.error("blocked faces of %s cannot be compared: %s", model, type(error).__name__)  # noqa: TRY400
            message = "The list of blocked faces cannot be read now; nothing is charged."
            raise ExhaustedError(message, code="blocklist_unavailable") from None
        self._known[model] = blocked
        if is_blocked:
            message = (
                "The face in the source may not be used here. Nothing is charged; send another "
                "source, or ask the operators."
            )
            raise InvalidInputError(message, code="face_blocked")
