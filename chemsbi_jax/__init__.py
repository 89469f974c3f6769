"""The IMF slope and number of SNe Ia of a galaxy from the chemistry of its stars."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chemsbi_jax.catalog import Catalog as Catalog
    from chemsbi_jax.catalog import read_catalog as read_catalog
    from chemsbi_jax.catalog import read_stars as read_stars
    from chemsbi_jax.constants import ABUNDANCES as ABUNDANCES
    from chemsbi_jax.constants import PARAMETERS as PARAMETERS
    from chemsbi_jax.emulator import emulate as emulate
    from chemsbi_jax.emulator import emulate_yields as emulate_yields
    from chemsbi_jax.emulator import load_emulator as load_emulator
    from chemsbi_jax.emulator import load_yield_emulator as load_yield_emulator
    from chemsbi_jax.errors import CatalogError as CatalogError
    from chemsbi_jax.errors import InputError as InputError
    from chemsbi_jax.galaxy import infer_galaxy as infer_galaxy
    from chemsbi_jax.galaxy import sample_stars as sample_stars
    from chemsbi_jax.galaxy.networks import Networks as Networks
    from chemsbi_jax.galaxy.networks import load_networks as load_networks
    from chemsbi_jax.galaxy.nuts.sampler import run_nuts as run_nuts
    from chemsbi_jax.inference import Inference as Inference
    from chemsbi_jax.inference import infer as infer
    from chemsbi_jax.inference.combine import combine_catalogues as combine_catalogues
    from chemsbi_jax.inference.combined import CombinedCatalogues as CombinedCatalogues
    from chemsbi_jax.inference.comparison import compare_yields as compare_yields
    from chemsbi_jax.npe import load_npe as load_npe
    from chemsbi_jax.options import CatalogOptions as CatalogOptions
    from chemsbi_jax.options import Limits as Limits
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
    from chemsbi_jax.yields import list_yields as list_yields

# public name -> module that defines it. They are loaded at their first use, so that
# `import chemsbi_jax` and `chemsbi --help` need no JAX.
_HOMES = {
    "ABUNDANCES": "constants",
    "CLEAN": "simulator",
    "Catalog": "catalog",
    "CatalogError": "errors",
    "CatalogOptions": "options",
    "CombinedCatalogues": "inference.combined",
    "Forward": "types",
    "GalaxyPosterior": "types",
    "Inference": "inference",
    "InputError": "errors",
    "LEGACY": "simulator",
    "Limits": "options",
    "Networks": "galaxy.networks",
    "PARAMETERS": "constants",
    "Physics": "simulator",
    "Stars": "types",
    "combine_catalogues": "inference.combine",
    "compare_yields": "inference.comparison",
    "emulate": "emulator",
    "emulate_yields": "emulator",
    "infer": "inference",
    "infer_galaxy": "galaxy",
    "list_yields": "yields",
    "load_emulator": "emulator",
    "load_networks": "galaxy.networks",
    "load_npe": "npe",
    "load_yield_emulator": "emulator",
    "load_yields": "simulator",
    "paper_prior": "priors",
    "read_catalog": "catalog",
    "read_stars": "catalog",
    "run_nuts": "galaxy.nuts.sampler",
    "sample_stars": "galaxy",
    "simulate": "simulator",
    "simulate_track": "simulator",
    "wide_prior": "priors",
}
_MODULES = (
    "catalog",
    "compute",
    "constants",
    "diagnostics",
    "emulator",
    "errors",
    "galaxy",
    "inference",
    "npe",
    "plots",
    "priors",
    "results",
    "simulator",
    "storage",
    "types",
    "yields",
)

__all__ = [*sorted(_HOMES), "__version__"]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]  (loaded lazily)

try:
    __version__ = _version("chemsbi-jax")
except PackageNotFoundError:  # run from a folder, not installed
    __version__ = "unknown"


def __getattr__(name: str) -> Any:
    """A public name or a module, loaded at its first use."""
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return __all__
