"""Execution of one network: a small protocol and one file per runtime."""
