"""Uploaded and produced files: intake, probing, signed links, retention."""
