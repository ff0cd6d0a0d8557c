"""The colorize engine: colour for black-and-white pictures."""
