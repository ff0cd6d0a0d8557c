"""Files that arrive in pieces (tus 1.0.0) or by the storage's own door, and become files."""
