"""The IMF slope and the SN Ia rate of a galaxy from the chemistry of its stars."""

from chemsbi_jax.catalog import Catalog as Catalog
from chemsbi_jax.catalog import CatalogOptions as CatalogOptions
from chemsbi_jax.catalog import read_catalog as read_catalog
from chemsbi_jax.catalog import read_stars as read_stars
from chemsbi_jax.constants import ABUNDANCES as ABUNDANCES
from chemsbi_jax.constants import PARAMETERS as PARAMETERS
from chemsbi_jax.emulator import emulate as emulate
from chemsbi_jax.emulator import emulate_yields as emulate_yields
from chemsbi_jax.emulator import load_emulator as load_emulator
from chemsbi_jax.emulator import load_yield_emulator as load_yield_emulator
from chemsbi_jax.galaxy import infer_galaxy as infer_galaxy
from chemsbi_jax.galaxy import sample_stars as sample_stars
from chemsbi_jax.npe import load_npe as load_npe
from chemsbi_jax.priors import paper_prior as paper_prior
from chemsbi_jax.priors import wide_prior as wide_prior
from chemsbi_jax.simulator import CLEAN as CLEAN
from chemsbi_jax.simulator import LEGACY as LEGACY
from chemsbi_jax.simulator import Physics as Physics
from chemsbi_jax.simulator import load_yields as load_yields
from chemsbi_jax.simulator import simulate as simulate
from chemsbi_jax.simulator import simulate_track as simulate_track
from chemsbi_jax.types import Forward as Forward
from chemsbi_jax.types import GalaxyPosterior as GalaxyPosterior
from chemsbi_jax.types import Stars as Stars


def __getattr__(name: str):
    """`run_nuts` on demand: its diagnostics import pyplot, which few users need."""
    if name == "run_nuts":
        from chemsbi_jax.joint import run_nuts

        return run_nuts
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
