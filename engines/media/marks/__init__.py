"""Where each kind of file keeps what is said about its origin.

One module per kind, each with ``write(stream, mark)``, which changes an open file in place, and
``read(stream)``. Pixels, packets, profiles and EXIF stay byte for byte what they are.
"""
