"""How programs run: all cores and processes, and one training loop."""
