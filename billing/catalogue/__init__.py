"""The shipped rate cards, one TOML file each; ``billing.cards`` publishes them."""
