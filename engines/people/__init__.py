"""Whether a picture shows people: what engines share."""
