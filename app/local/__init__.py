"""One machine, no installed services: embedded PostgreSQL and Redis under a supervisor."""
