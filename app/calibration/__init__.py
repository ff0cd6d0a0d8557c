"""Fits a rate card to the compute time that was recorded, and proposes a version. Offline."""
