"""What a customer and an operator touch: HTTP API, CLI, client, tenants, jobs and webhooks."""
