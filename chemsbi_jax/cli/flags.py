"""Flags of commands that read a star table."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro

from chemsbi_jax.options import CatalogOptions

Positional = tyro.conf.Positional


@dataclass(frozen=True, kw_only=True)
class StarFlags(CatalogOptions):
    """Flags about the star table; the Config of a command derives from these."""

    default_error: Annotated[float | None, tyro.conf.arg(metavar="DEX")] = None
    """Error of abundances that have none in the table."""
    hdu: Annotated[int | None, tyro.conf.arg(metavar="NUMBER")] = None
    """Number of the table in a FITS file."""
    solar_from: Annotated[str | None, tyro.conf.arg(metavar="SCALE")] = None
    """Solar scale of the table, to convert from, as grevesse2007."""

    def options(self) -> CatalogOptions:
        """Only the flags about the table."""
        names = [field.name for field in fields(CatalogOptions)]
        return CatalogOptions(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class InferFlags(StarFlags):
    """Flags of `chemsbi infer`."""

    stars: Positional[Path]
    """Star table: ECSV, FITS, CSV, VOTable or Parquet."""
    out: Path
    """Folder for the results."""
    method: Literal["auto", "flow", "gaussian", "exact"] = "auto"
    """How the stars are combined; auto: exact for up to 5000 stars, flow for more
    (with exact for some of them beside it, where the model does not fit)."""
    robust: bool = False
    """Give each abundance a model error, as large as the stars ask for."""
    weights: str = "auto"
    """Networks: tng-any, tng, tng-legacy, or a folder; auto: tng-any, or tng if all
    stars have eight abundances, errors of 0.05 dex and no birth times."""
    truth: tuple[float, float] | None = None
    """Known alpha_imf and log10_n_ia, for the figures."""
    seed: int = 0
    """Of everything random."""
    strict: bool = False
    """Exit with 3 if a check fails."""
    quiet: bool = False
    """No progress, no summary on the screen."""
    coordinator: str = "localhost:9876"
    """HOST:PORT of process 0, for several processes or hosts."""
    n_processes: int = 1
    """Processes that share the stars, each started with the same flags."""
    process_id: int = 0
    """Which of them this is; 0 writes the files."""
