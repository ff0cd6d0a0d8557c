"""Measured speeds: how long a job will take and wait, from how long others like it took."""
