"""Faces in a picture: where they are, their five points, and how to line them up."""
