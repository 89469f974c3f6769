"""The flags of all commands, as dataclasses; this module imports no JAX."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro

from chemsbi_jax.options import CatalogOptions

Positional = tyro.conf.Positional


@dataclass(frozen=True, kw_only=True)
class CacheFlags:
    """Flags of all commands that compile programs."""

    compilation_cache: bool = True
    """Keep compiled programs in the user's cache folder, for the next run."""


@dataclass(frozen=True, kw_only=True)
class StarFlags(CacheFlags, CatalogOptions):
    """Flags about the star table; the Config of a command derives from these."""

    default_error: Annotated[float | None, tyro.conf.arg(metavar="DEX")] = None
    """Error [dex] of abundances that have none in the table."""
    hdu: Annotated[int | None, tyro.conf.arg(metavar="NUMBER")] = None
    """Number of the table in a FITS file or VOTable."""
    solar_from: Annotated[str | None, tyro.conf.arg(metavar="SCALE")] = None
    """Solar scale of the table, such as grevesse2007, if it is to be converted."""

    def options(self) -> CatalogOptions:
        """Only the flags about the table."""
        names = [field.name for field in fields(CatalogOptions)]
        return CatalogOptions(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class InferFlags(StarFlags):
    """Flags of `chemsbi infer`."""

    stars: Positional[Path]
    """Star table: ECSV, FITS, CSV, VOTable or Parquet;
    `example`: the shipped mock galaxy of 1000 stars."""
    out: Path
    """Folder for the results."""
    method: Literal["auto", "flow", "gaussian", "exact"] = "auto"
    """How the stars are combined.
    auto: exact for up to 5000 stars, flow for more.
    After a misfit, flow is compared with exact for some of the stars."""
    robust: bool = False
    """Give each abundance a model error, whose size is estimated from the stars."""
    weights: str = "auto"
    """Networks: tng-any, tng, tng-legacy, nkt13-k10-w7, or a folder.
    auto: tng for eight abundances, 0.05 dex and no birth times, else tng-any."""
    yields: str | None = None
    """Yield set in place of --weights, such as nkt13+k10+w7, or a table of your own;
    its emulator is trained on first use (1 to 2 minutes) if none is shipped."""
    forward: Literal["emulator", "simulator"] = "emulator"
    """Model of the likelihood with --yields; the simulator is for few stars."""
    shared_errors: bool = True
    """Make a second interval, with shared errors (yields, zero points, population)."""
    fast: bool = False
    """Leave out the second interval."""
    hold: str = ""
    """Shared errors that the second interval takes as exactly known:
    yields, zero-points, population, scatter (commas between them)."""
    shared_priors: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """JSON file of prior scales of the second interval, as {"scatter": 0.02}."""
    sampler: Literal["network", "nuts"] | None = None
    """How the second interval is made. network: in seconds.
    nuts: from the likelihood of at most 256 stars, in up to half an hour;
    if the chains do not converge, the interval is that of the network.
    None: the sampler in the file of --shared-priors, else network."""
    truth: tuple[float, float] | None = None
    """Known alpha_imf and log10_n_ia, for the figures."""
    seed: int = 0
    """Random seed."""
    strict: bool = False
    """Exit with code 3 if there is a warning."""
    quiet: bool = False
    """No progress bars, and no summary on the screen."""
    coordinator: str = "localhost:9876"
    """HOST:PORT of process 0, for several processes or hosts."""
    n_processes: int = 1
    """Processes that share the stars, each started with the same flags."""
    process_id: int = 0
    """Index of this process; 0 writes the output."""


@dataclass(frozen=True)
class CompareFlags(StarFlags):
    """Flags of `chemsbi compare-yields`."""

    stars: Positional[Path]
    """Star table: ECSV, FITS, CSV, VOTable or Parquet;
    `example`: the shipped mock galaxy of 1000 stars."""
    out: Path
    """Folder for the results; an interrupted run resumes there."""
    sets: str = "all"
    """Yield sets with commas between them, such as tng,nkt13+k10+w7.
    all: the complete sets, and each core-collapse part with k10 (AGB) and w7 (SNe Ia);
    sets whose tables are not installed are left out."""
    forward: Literal["emulator", "simulator"] = "emulator"
    """Model of the likelihood; the simulator is for few stars."""
    n_element_stars: int = 100
    """Number of random stars for the fits without each abundance in turn; 0: none."""
    seed: int = 0
    """Random seed."""
    quiet: bool = False
    """No progress bars, and no table on the screen."""


@dataclass(frozen=True)
class NutsFlags(StarFlags):
    """Flags of `chemsbi nuts`."""

    stars: Positional[Path]
    """Star table: ECSV, FITS, CSV, VOTable or Parquet;
    `example`: the shipped mock galaxy of 1000 stars."""
    out: Path = Path("runs/nuts")
    """Folder for the results."""
    n_stars: int | None = None
    """Use only the first N stars of the table; None: all."""
    weights: str = "auto"
    """Networks: tng-any, tng, tng-legacy, nkt13-k10-w7, or a folder.
    auto: tng for eight abundances, 0.05 dex and no birth times, else tng-any."""
    forward: Literal["emulator", "simulator"] = "emulator"
    """Model of the likelihood."""
    yields: str = "tng"
    """Yield set, if the simulator is used."""
    n_chains: int = 2
    """Chains side by side."""
    n_warmup: int = 80
    """Warm-up steps of each chain; they are not kept."""
    n_draws: int = 500
    """Draws of each chain after the warm-up."""
    seed: int = 0
    """Random seed."""
    strict: bool = False
    """Exit with code 3 if the chains did not converge."""
    quiet: bool = False
    """No progress bars, and no summary on the screen."""


@dataclass(frozen=True)
class MockFlags(CacheFlags):
    """Flags of `chemsbi mock`."""

    out: Path = Path("runs/mock.ecsv")
    """Table to write: .ecsv or .fits; with --survey .csv."""
    truth: tuple[float, float] = (-2.1, -2.6)
    """alpha_imf and log10_n_ia of the galaxy."""
    n: Annotated[int, tyro.conf.arg(aliases=["--n-stars"])] = 1000
    """Number of stars."""
    sigma: float = 0.05
    """Noise of every abundance [dex]."""
    yields: str = "tng"
    """Yield set: tng, alternative, alternative-reference;
    three parts such as nkt13+k10+w7; or a table of your own."""
    emulator: str | None = None
    """Networks to use in place of the simulator: tng, tng-legacy, or a folder."""
    survey: Literal["galah"] | None = None
    """Write the columns of this survey (CSV) and rows that must not be used.
    The stars come from the emulator tng-any."""
    seed: int = 2
    """Random seed."""
    quiet: bool = False
    """No progress bar."""


@dataclass(frozen=True)
class SimulateFlags(CacheFlags):
    """Flags of `chemsbi simulate`."""

    n: int = 100_000
    """Number of stars."""
    prior: Literal["paper", "wide", "mixed"] = "paper"
    """Prior of the parameters. paper: that of Buck+ 2025;
    wide: uniform, ±5 sigma around it; mixed: that of the emulators' training."""
    yields: str = "tng"
    """Yield set: tng, alternative, alternative-reference;
    three parts such as nkt13+k10+w7; or a table of your own."""
    physics: Literal["clean", "legacy"] = "clean"
    """Physics preset.
    clean: without, legacy: with the numerical errors of the original Chempy."""
    out: Path = Path("runs/simulations")
    """Folder for the stars and the records."""
    plots: Path = Path("plots")
    """Folder for the figure."""
    seed: int = 0
    """Random seed."""
    quiet: bool = False
    """No progress bar, and nothing on the screen."""


@dataclass(frozen=True)
class EmulatorFlags(CacheFlags):
    """Train the emulator, a network in place of the simulator."""

    out: Path = Path("runs/emulator")
    """Folder for weights, figures and records."""
    yields: str = "tng"
    """Yield set: tng, alternative, alternative-reference;
    three parts such as nkt13+k10+w7; or a table of your own."""
    physics: Literal["clean", "legacy"] = "clean"
    """Physics preset of the simulations.
    clean: without, legacy: with the numerical errors of the original Chempy."""
    free_yields: bool = False
    """Train the network of the yield factors;
    the emulator in --out is trained first if there is none."""
    recipe: Literal["default", "reference"] = "default"
    """Ours, or that of Buck+ 2025:
    layers of 100 and 40 units, batches of 64 stars, 20 epochs, and the wide prior."""
    n_simulations: int | None = None
    """Training simulations; None: 2,000,000, or 600,000 pairs with --free-yields."""
    n_test: int = 20_000
    """Fresh simulations from the paper prior that measure the errors."""
    n_epochs: int | None = None
    """Epochs; None keeps those of the recipe."""
    steps_per_epoch: int | None = None
    """Steps per epoch; None keeps those of the recipe."""
    seed: int = 0
    """Random seed."""
    quiet: bool = False
    """No progress bars."""


@dataclass(frozen=True)
class NpeFlags(CacheFlags):
    """Train the posterior network of one star."""

    out: Path = Path("runs/npe")
    """Folder for weights, figures and records."""
    emulator: str = "tng"
    """Emulator that makes the stars: tng, tng-legacy, or a folder."""
    recipe: Literal["default", "reference"] = "default"
    """Ours, or that of Buck+ 2025 (masked autoregressive flow, stored simulations)."""
    stars: Literal["fixed", "any", "complete", "apogee", "galah"] = "fixed"
    """Abundances of the training stars.
    fixed: all eight with one error; any: any gaps and errors;
    complete, apogee, galah: one of the kinds of stars that any mixes."""
    dated: bool | None = None
    """Whether these stars have birth times (not for fixed); None: half of them."""
    start: str | None = None
    """Weights to start from, of the same recipe and stars: a name or a folder."""
    galaxy_only: bool = False
    """Train only the flow of the two global parameters, which all stars share."""
    n_test: int = 20_000
    """Fresh noisy stars that measure the log density."""
    n_epochs: int | None = None
    """Epochs; None keeps those of the recipe."""
    steps_per_epoch: int | None = None
    """Steps per epoch; None keeps those of the recipe."""
    learning_rate: float | None = None
    """Initial Adam learning rate (cosine decay to zero); None keeps the recipe's."""
    batch_size: int | None = None
    """Stars per step; None keeps those of the recipe."""
    seed: int = 0
    """Random seed."""
    quiet: bool = False
    """No progress bar."""


@dataclass(frozen=True)
class DownloadFlags:
    """Flags of `chemsbi download`."""

    sets: tuple[Literal["tng", "alternative", "stars", "all"], ...] = ("all",)
    """Files to download:
    yield tables of TNG, the alternative yields, published star tables, or all."""
    base_url: str | None = None
    """Address of a mirror to use in place of the public ones."""
    quiet: bool = False
    """No progress bar, and no list of files."""


@dataclass(frozen=True)
class TrainFlags:
    """Flags of `chemsbi train`."""

    network: (
        Annotated[EmulatorFlags, tyro.conf.subcommand("emulator")]
        | Annotated[NpeFlags, tyro.conf.subcommand("npe")]
    )
    """Which network: the emulator of the simulator, or the posterior of one star."""


@dataclass(frozen=True)
class DoctorFlags:
    """Flags of `chemsbi doctor`."""

    quiet: bool = False
    """Only the exit code: 2 if a needed library or the networks are missing."""
