"""Half-precision variants of weights: made by conversion, held against the original, or refused."""
