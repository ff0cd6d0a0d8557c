"""Cut faces out of a picture in a standard position, and lay changed ones back."""
