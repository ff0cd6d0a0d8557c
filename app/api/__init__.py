"""The HTTP API under /v1: the only place where Flask is imported."""
