"""ComfyUI's own protocol on a port of its own: prompts become ordinary jobs of one key."""
