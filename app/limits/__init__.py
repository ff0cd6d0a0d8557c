"""Limits of tenants: caps by name, freezing, and what their owners are told about them."""
