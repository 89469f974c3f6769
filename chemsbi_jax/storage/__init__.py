"""Files on disk: atomic writes, weights, checkpoints, public data."""
