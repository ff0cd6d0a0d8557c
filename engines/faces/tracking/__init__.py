"""The parts of ``engines.faces.tracks``: who is who from frame to frame."""
