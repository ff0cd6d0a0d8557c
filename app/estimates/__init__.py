"""Estimates: what a batch of jobs would cost, the tokens it lacks, and its start when they came."""
