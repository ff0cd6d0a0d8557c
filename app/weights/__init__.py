"""Tenants' own weights: taken in after a trial, private to their tenant, run in a jail."""
