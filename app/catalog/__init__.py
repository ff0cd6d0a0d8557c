"""Engine manifests joined with rate cards: what may be called and at what price."""
