"""Grants by rule: finds who is due by group and zone, books them through billing, tells them."""
