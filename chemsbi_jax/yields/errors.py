"""The error that every complaint about a yield set derives from."""

from chemsbi_jax.errors import InputError


class YieldsError(InputError):
    """A yield set cannot be had, or its numbers cannot be right."""
