"""Background processes: dispatcher, GPU tasks, settlement, webhook delivery, sweeper, beat."""
