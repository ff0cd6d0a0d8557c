"""Webhook events as snapshots, their signatures and their delivery records."""
