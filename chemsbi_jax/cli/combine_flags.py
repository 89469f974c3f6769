"""The flags of `chemsbi combine`; this module imports no JAX."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from chemsbi_jax.constants import SLOPE_ERROR


@dataclass(frozen=True)
class CombineFlags:
    """Flags of `chemsbi combine`."""

    run: tyro.conf.Positional[Path]
    """Folder of a run of `chemsbi infer` for one catalogue of the galaxy."""
    others: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of the runs for its other catalogues, with spaces between them."""
    out: Path
    """Folder for the results, other than that of a run."""
    slope_error: float = SLOPE_ERROR
    """The slopes of the yields with [Fe/H] have errors that differ between catalogues:
    their standard deviation [dex per dex]."""
    truth: tuple[float, float] | None = None
    """Known alpha_imf and log10_n_ia, marked in the figure."""
    seed: int = 0
    """Random seed of the draws."""
    quiet: bool = False
    """No table on the screen."""
    strict: bool = False
    """Exit code 3 if the catalogues contradict each other, or for any other warning."""
