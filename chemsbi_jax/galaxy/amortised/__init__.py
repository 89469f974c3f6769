"""Products of the posteriors of single stars, by the networks alone."""
