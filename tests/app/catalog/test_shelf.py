"""The price book that the threads of a process share."""

import threading
import time
from datetime import UTC, datetime

from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from app.catalog.shelf import CardShelf
from app.db import open_engine
from billing.cards import CardBook

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_reader_without_a_connection_stops_nobody_who_has_one(database_url):
    known = open_engine(database_url)
    engine = create_engine(known.url, pool_size=1, max_overflow=0, pool_timeout=5)
    book = object.__new__(CardBook)

    def load(session: Session, _now: datetime) -> CardBook:
        session.execute(text("SELECT 1"))
        return book

    shelf, found = CardShelf(load=load), []

    def read_late() -> None:
        with Session(engine) as session:
            found.append(shelf.current(session, now=NOW))

    late = threading.Thread(target=read_late)
    with Session(engine) as session:
        session.connection()  # the only one there is
        late.start()
        time.sleep(0.3)  # it waits for the pool now
        assert shelf.current(session, now=NOW) is book
    late.join()
    engine.dispose()
    known.dispose()
    assert found == [book]
