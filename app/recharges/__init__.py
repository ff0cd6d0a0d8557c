"""Bulk recharge: tokens for many at once, by operators, logged, the large ones by two people."""
