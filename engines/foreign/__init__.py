"""Weights of strangers: inspected, tried and run in a process that has nothing worth stealing."""
