"""Tenants, projects and API keys: who may call and who pays."""
