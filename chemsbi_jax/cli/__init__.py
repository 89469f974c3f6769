"""The command `chemsbi` and what all scripts share; nothing here imports JAX early."""
