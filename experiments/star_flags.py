"""Former home of `cli.flags`, for scripts that still import it from here."""

from chemsbi_jax.cli.flags import StarFlags as StarFlags
from chemsbi_jax.cli.infer import read as read
from chemsbi_jax.inference.rows import add_rows as add_to  # noqa: F401
