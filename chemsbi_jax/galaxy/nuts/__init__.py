"""The joint posterior of galaxy and stars by numpyro's NUTS."""
