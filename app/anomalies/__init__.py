"""Odd use: rules that operators set as data, findings, and what follows from them."""
