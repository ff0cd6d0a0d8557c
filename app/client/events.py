"""Server-Sent Events as they come over the wire (WHATWG HTML, section 9.2.6)."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event; give ``id`` back as ``Last-Event-ID`` to go on behind it."""

    id: str
    kind: str  # status, progress or log
    data: dict[str, Any]

    @property
    def ended(self) -> dict[str, Any] | None:
        """The whole job, when this is its last event."""
        job: dict[str, Any] | None = self.data.get("job")
        return job


def parse_events(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """Events of a stream's lines, without comments; one that broke off is not an event."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        if "data" in fields:
            yield ServerEvent(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
        fields = {}
