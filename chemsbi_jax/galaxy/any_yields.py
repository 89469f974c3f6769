"""Networks for any yield set: an emulator trained when first needed, and a guide.

The exact method takes the likelihood from the forward model, and proposes the local
parameters by maps that it fits to each star, so that a set needs no network. The
emulator of a set is trained once and kept in the user's cache folder, under a checksum
of yields, physics and recipe.
"""

import os
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import numpy as np
from jax.tree_util import Partial

from chemsbi_jax import priors
from chemsbi_jax.compute.train import FitConfig
from chemsbi_jax.constants import ABUNDANCES, ALL_ABUNDANCES
from chemsbi_jax.emulator import (
    Emulator,
    EmulatorConfig,
    emulate,
    load_emulator,
    save_emulator,
    train_emulator,
)
from chemsbi_jax.errors import InputError, OutputError, WeightsError
from chemsbi_jax.galaxy.border import in_float32
from chemsbi_jax.galaxy.exact.prior_flow import without_proposals
from chemsbi_jax.galaxy.networks import Networks, load_networks
from chemsbi_jax.galaxy.shipped_sets import shipped_emulator
from chemsbi_jax.npe import load_npe
from chemsbi_jax.simulator import CLEAN, Physics, simulate
from chemsbi_jax.simulator.blocks import simulate_blocks
from chemsbi_jax.storage.datasets import cache_folder
from chemsbi_jax.storage.files import sha256_of_arrays
from chemsbi_jax.storage.weights import EMULATORS, load_spec, weights_folder
from chemsbi_jax.types import Stars
from chemsbi_jax.yields import Yields, load_yields, select_elements
from chemsbi_jax.yields.elements import NINE

GUIDE = "tng-any"  # shipped network whose prior and reader serve other sets
SHIPPED = "tng"  # yields of the shipped emulators
EMULATOR_FOLDER = "CHEMSBI_EMULATORS"
"""Environment variable: folder of the emulators in place of the user's cache folder."""
MAX_RMS = 0.003  # dex on the paper prior; above it a result names the error
N_HEX = 16  # digits of the checksum in the name of a folder
SEED = 17  # of the training: the same set gives the same emulator

ForwardName = Literal["emulator", "simulator"]


class Recipe(NamedTuple):
    """Simulations and training of an emulator on demand."""

    n_simulations: int = 200_000
    n_test: int = 10_000  # fresh simulations from the paper prior: errors
    config: EmulatorConfig = EmulatorConfig(
        hidden=(128, 128, 128),
        batch_size=512,
        learning_rate=4e-3,
        fit=FitConfig(n_epochs=20, steps_per_epoch=1000),
    )


RECIPE = Recipe()
"""200,000 simulations and 20,000 steps: rms error of 0.001 to 0.003 dex."""


class YieldModel(NamedTuple):
    """A yield set as the inference needs it."""

    name: str
    networks: Networks  # posterior network or guide, and the forward model of the set
    abundances: tuple[str, ...]  # what the forward model gives, in its order
    forward: str  # what the forward model is, in words
    rms_dex: dict[str, float]  # abundance -> error of the emulator; empty: simulator
    guide: str = GUIDE  # weights of the posterior network
    is_own: bool = False  # the posterior network was trained with these yields


def model_of_yields(
    name: str | os.PathLike,
    forward: ForwardName = "emulator",
    *,
    measured: Iterable[str] = ABUNDANCES,
    recipe: Recipe = RECIPE,
    quiet: bool = False,
) -> YieldModel:
    """Guide and forward model of a yield set; trains its emulator if there is none.

    Args:
        name: as for `load_yields`.
        forward: "emulator", or "simulator", which needs no training and is slower.
        measured: abundances of the stars. The model has the default eight if these are
            enough and the set has them, else all abundances of the set.
        recipe: of an emulator that is trained here.
        quiet: no progress bars.

    Raises:
        InputError: the set is unknown, or its tables cannot be had.
    """
    if is_shipped(name, forward):
        return YieldModel(
            SHIPPED, load_networks(GUIDE), ABUNDANCES, f"emulator {GUIDE}", {}
        )
    yields = needed_elements(load_yields(name), measured)
    about, names = f"{forward} of {name}", yields.abundances
    found = shipped_emulator(name, yields)
    guide = GUIDE if found is None else EMULATORS[str(name)]
    if found is not None and forward == "emulator":
        own = load_networks(guide)
        return YieldModel(str(name), own, names, about, found[1], guide, is_own=True)
    npe = load_npe(guide) if found else without_proposals(load_npe(guide))
    if forward == "simulator":
        model, rms = Partial(simulate, yields=yields), {}
    else:
        emulator, rms = emulator_of(yields, str(name), recipe=recipe, quiet=quiet)
        model = Partial(emulate, emulator=emulator)
    return YieldModel(str(name), Networks(npe, model), names, about, rms, guide)


def is_shipped(name: str | os.PathLike, forward: ForwardName) -> bool:
    """Whether the shipped networks are those of this model."""
    return str(name) == SHIPPED and forward == "emulator"


def abundances_of(name: str | os.PathLike) -> tuple[str, ...]:
    """Abundances that a yield set has, in its order."""
    if str(name) == SHIPPED:  # without its tables, which an emulator does not need
        return ABUNDANCES
    return load_yields(name).abundances


def columns_to_read(
    name: str | os.PathLike | None, weights: str | os.PathLike = "auto"
) -> tuple[str, ...]:
    """Columns of a star table for a yield set: its abundances, and the default eight.

    An abundance that the set lacks is read, too, so that it is not left out silently:
    `require_abundances` refuses it.

    Args:
        name: as for `load_yields`; None: what the posterior network reads.
        weights: of the posterior network; "auto" reads the eight.
    """
    if name is not None:
        has = {*ABUNDANCES, *abundances_of(name)}
    elif str(weights) == "auto":
        return ABUNDANCES
    else:
        read = load_spec(weights_folder(weights), "npe")["abundances"]
        has = {*ABUNDANCES, *read}
    return tuple(a for a in ALL_ABUNDANCES if a in has)


def yields_checksum(
    name: str | os.PathLike, measured: Iterable[str] = ABUNDANCES
) -> str:
    """Short checksum of the numbers of a yield set, with the simulator's physics."""
    yields = needed_elements(load_yields(name), measured)
    return checksum(yields, CLEAN, RECIPE)[:N_HEX]


def measured_in(stars: Stars) -> tuple[str, ...]:
    """Abundances that any of the stars has."""
    has = np.flatnonzero(np.asarray(stars.observed).any(axis=0))
    return tuple(stars.abundances[i] for i in has)


def require_abundances(stars: Stars, name: str, abundances: tuple[str, ...]) -> None:
    """Refuse stars with abundances that the yield set does not have.

    Raises:
        InputError: names the abundances and the remedy.
    """
    missing = [a for a in measured_in(stars) if a not in abundances]
    if missing:
        raise InputError(
            f"The yields {name} have no {', '.join(missing)}, which the stars have. "
            f"Leave them out: --without {','.join(missing)}, or "
            f'CatalogOptions(without="{",".join(missing)}").'
        )


def needed_elements(yields: Yields, measured: Iterable[str]) -> Yields:
    """The nine default elements of a set if these are enough, else the whole set.

    The eight abundances keep an emulator of their own: it has smaller errors, and
    results for them do not depend on what else a set has.
    """
    is_enough = set(measured) <= set(ABUNDANCES) <= set(yields.abundances)
    return default_elements(yields) if is_enough else yields


def default_elements(yields: Yields) -> Yields:
    """The set with those of the nine default elements that it has."""
    return select_elements(yields, [e for e in NINE if e in yields.elements])


def emulators_folder() -> Path:
    """Where emulators that were trained on demand are kept."""
    chosen = os.environ.get(EMULATOR_FOLDER)
    return Path(chosen).expanduser() if chosen else cache_folder() / "emulators"


def emulators_state() -> str:
    """Number and size of these emulators, for `chemsbi doctor`."""
    folder = emulators_folder()
    files = [p for p in folder.rglob("*") if p.is_file()] if folder.is_dir() else []
    n = sum(p.suffix == ".safetensors" for p in files)
    size = sum(p.stat().st_size for p in files) / 1e6
    return f"{folder} ({n} emulators, {size:.1f} MB)"


def checksum(yields: Yields, physics: Physics, recipe: Recipe) -> str:
    """SHA-256 of all that decides an emulator."""
    leaves = jax.tree_util.tree_flatten_with_path(yields)[0]
    arrays = {
        jax.tree_util.keystr(path): np.asarray(leaf, np.float32)
        for path, leaf in leaves
    }
    elements = f"{tuple(yields.elements)} {yields.abundances}"
    text = f"{asdict(physics)} {recipe} {elements} {SEED}"
    words = np.frombuffer(text.encode(), np.uint8)
    return sha256_of_arrays(arrays | {"settings": words})


@in_float32
def emulator_of(
    yields: Yields,
    name: str,
    physics: Physics = CLEAN,
    *,
    recipe: Recipe = RECIPE,
    quiet: bool = False,
) -> tuple[Emulator, dict[str, float]]:
    """The emulator of a yield set from the cache folder, or trained and put there.

    Returns:
        The emulator, and its rms error of each abundance on the paper prior [dex].
    """
    digest = checksum(yields, physics, recipe)
    folder = emulators_folder() / digest[:N_HEX]
    if folder.is_dir():
        try:
            return load_emulator(folder), load_spec(folder, "emulator")["rms_dex"]
        except (WeightsError, KeyError):  # damaged: train it again
            shutil.rmtree(folder, ignore_errors=True)
    emulator, rms = train_on_demand(yields, physics, recipe, quiet)
    spec = {
        "yields": name,
        "checksum": digest,
        "physics": asdict(physics),
        "n_simulations": recipe.n_simulations,
        "rms_dex": rms,
    }
    _save_whole(folder, emulator, spec)
    return emulator, rms


def train_on_demand(
    yields: Yields, physics: Physics, recipe: Recipe, quiet: bool
) -> tuple[Emulator, dict[str, float]]:
    """Simulate, train, measure on the paper prior."""
    key_theta, key_test, key_train = jax.random.split(jax.random.key(SEED), 3)
    theta = priors.sample_mixture(key_theta, recipe.n_simulations)
    abundances = simulate_blocks(theta, yields, physics, quiet)
    emulator, _ = train_emulator(
        key_train,
        theta,
        abundances,
        priors.box(priors.wide_prior()),
        recipe.config,
        quiet=quiet,
        names=yields.abundances,
    )
    theta = priors.sample(key_test, priors.paper_prior(), recipe.n_test)
    truth = simulate_blocks(theta, yields, physics, True)
    errors = np.asarray(jax.jit(emulate)(theta, emulator), float) - truth
    rms = np.sqrt(np.nanmean(errors**2, axis=0))
    return emulator, dict(zip(yields.abundances, rms.tolist(), strict=True))


def _save_whole(folder: Path, emulator: Emulator, spec: dict) -> None:
    """Both files at once, by a rename; what another process put there first stays.

    A cache folder that cannot be written to only costs the next run its time.
    """
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        save_emulator(temporary, emulator, spec)
        os.rename(temporary, folder)
    except (OSError, OutputError):
        shutil.rmtree(temporary, ignore_errors=True)
