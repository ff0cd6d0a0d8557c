"""What is kept of faces: embeddings of a tenant's sources for a week, and those nobody may use.

A face is personal like few other things: every vector is encrypted, none is logged, and each kind
has one writer here that can also make it unreadable at once.
"""
