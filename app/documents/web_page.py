"""A paper as one HTML page: no script, nothing fetched, made to be printed too."""

from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from app.documents.paper import Paper


def paper_html(paper: Paper) -> str:
    """The page as text; every value is escaped."""
    template = (files("app.documents") / "paper.html").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template).render(paper=paper)
