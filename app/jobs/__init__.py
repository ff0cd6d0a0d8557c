"""Jobs: specification, states, the one writer and the read side."""
