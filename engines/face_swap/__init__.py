"""The face-swap engine: a source face onto the faces of a target picture."""
