"""Many stars, one posterior."""

from chemsbi_jax.galaxy.amortised.stream import stream_galaxy as stream_galaxy
from chemsbi_jax.galaxy.exact.start import exact_of_stars as exact_of_stars
from chemsbi_jax.galaxy.infer import infer_galaxy as infer_galaxy
from chemsbi_jax.galaxy.infer import infer_prefixes as infer_prefixes
from chemsbi_jax.galaxy.single_stars import sample_stars as sample_stars
