"""Batches: many jobs validated, priced and held together, with one callback at the end."""
