"""Yield sets by name: list them, compare some in figures and a table, their spread.

    python experiments/yields.py
    python experiments/yields.py --sets tng,nkt13+k10+w7,lc18m_v150+k10+w7
    python experiments/yields.py --spread runs/yield_spread.json
    python experiments/yields.py --slopes runs/yield_slopes.json

Without a flag it lists all sets and parts, also those whose tables are not on this
machine, with the reason. With --sets it prints the abundances of one galaxy with each
set, and writes them as JSON and three figures. With --spread it writes the scatter of
the published sets, element by element and channel by channel, as prior scales. With
--slopes it writes how much the factors that turn TNG into each set (those of --sets, or
six of them) change with [Fe/H].
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from common.published_sets import PUBLISHED_SETS
from tqdm import tqdm

import chemsbi_jax as cs
from chemsbi_jax import plots
from chemsbi_jax.cli.run import check_flags, run_script, write_record
from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.emulator import load_yield_emulator
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.hierarchical.yield_slopes import fit_slopes, slope_scales
from chemsbi_jax.plots.yields import plot_ejecta, plot_net_yields, plot_tracks
from chemsbi_jax.results import write_summary
from chemsbi_jax.simulator import Yields
from chemsbi_jax.simulator.production import ejecta_ratios, net_curves
from chemsbi_jax.simulator.spread import Spread, spread
from chemsbi_jax.yields import CHANNELS, PARTS, YieldRecord, stack_yields

GALAXY = (-2.3, -2.89, -0.3, 0.55, 0.5, 6.0)
"""Theta of the comparison: the means of the prior, a star born at 6 Gyr."""


LAST = 13.0  # Gyr, end of the tracks


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    sets: str = ""
    """Names with commas between them: sets such as nkt13+k10+w7, or your own files."""
    spread: Path | None = None
    """Write the scatter of the published sets to this JSON file."""
    slopes: Path | None = None
    """Write how the factors between the sets change with [Fe/H] to this JSON file."""
    metallicity: float = 0.01
    """Mass fraction of metals of the stars in --spread and in the figures of yields."""
    vice: Path | None = None
    """Archive or folder of VICE's source; by default that in CHEMSBI_VICE."""
    out: Path = Path("runs/yields")
    """Folder for the numbers."""
    plots: Path = Path("plots")
    """Folder for the figures."""
    seed: int = 0
    """Random seed of the stars of --slopes."""
    quiet: bool = False
    """Nothing on the screen."""


def main(config: Config) -> dict:
    """List, compare or measure the spread; returns the numbers."""
    check_flags(config, metallicity=1e-6)
    if config.metallicity >= 1.0:
        raise InputError(
            "Expected --metallicity as a mass fraction below 1; got "
            f"{config.metallicity}."
        )
    if config.spread is not None:
        metrics, text = measure_spread(config.spread, config)
    elif config.slopes is not None:
        metrics, text = measure_slopes(config.slopes, config)
    elif config.sets:
        metrics, text = compare(config)
    else:
        records = cs.list_yields(config.vice)
        metrics, text = {"yields": [r._asdict() for r in records]}, listing(records)
    if not config.quiet:
        print(text)
    return metrics


def listing(records: tuple[YieldRecord, ...]) -> str:
    """A line a set or part; reasons of missing ones once, at the end."""
    lines, reasons = [], {}
    for r in records:
        if not r.available:
            reasons.setdefault(r.note, []).append(r.name)
            continue
        ends = dict.fromkeys((min(r.masses), max(r.masses)) if r.masses else ())
        masses = "-".join(f"{m:.3g}" for m in ends) + " Msun" * bool(ends)
        many = f"{len(r.metallicities)} Z" if r.metallicities else ""
        about = f"{masses:16} {many:5} {len(r.elements) - 1:2} elements"
        note = f"; {r.note}" if r.note else ""
        lines.append(f"{r.name:22} {r.channel:6} {about}  {r.paper} ({r.source}){note}")
    for reason, names in reasons.items():
        lines.append(f"not available: {', '.join(names)}: {reason}")
    return "\n".join(lines)


def compare(config: Config) -> tuple[dict, str]:
    """Abundances of one galaxy with each set, and figures of what differs."""
    names = [name.strip() for name in config.sets.split(",")]
    sets = {name: cs.load_yields(name, vice=config.vice) for name in names}
    tracks = run(sets)
    values = {name: at_birth for name, (at_birth, _) in tracks.items()}
    metrics = {"theta": GALAXY, "abundances": values, "papers": papers(names)}
    write_record(config.out, "yields", config, metrics)
    draw(sets, {name: over_time for name, (_, over_time) in tracks.items()}, config)
    return metrics, table(values)


def run(sets: dict[str, Yields]) -> dict[str, tuple[dict, dict]]:
    """Abundances [dex] of the star of `GALAXY`, and of the gas until `LAST` Gyr."""
    theta = jnp.array([GALAXY, (*GALAXY[:-1], LAST)])
    found = {}
    for elements in dict.fromkeys(y.elements for y in sets.values()):
        group = {name: y for name, y in sets.items() if y.elements == elements}
        stacked = stack_yields([*group.values()])
        tracks = jax.vmap(lambda y: cs.simulate_track(theta, y))(stacked)
        for (name, y), gas in zip(
            group.items(), np.asarray(tracks.abundances), strict=True
        ):
            at_birth = dict(zip(y.abundances, gas[0, -1].tolist(), strict=True))
            # the first two points have no stars yet, or those of one step alone
            over_time = dict(zip(y.abundances, gas[1, 2:].T, strict=True))
            found[name] = at_birth, over_time
    return {name: found[name] for name in sets}


def papers(names: list[str]) -> dict[str, str]:
    """Part -> its citation, of all parts in the names of the sets."""
    parts = [part for name in names for part in name.split("+") if part in PARTS]
    return {part: PARTS[part].paper for part in parts}


def table(values: dict[str, dict[str, float]]) -> str:
    """A row a set, a column an abundance [dex]; the last row is the largest difference.

    A dash stands where a set does not have the element.
    """
    columns = max((list(row) for row in values.values()), key=len)
    width = max(map(len, [*values, "max - min"]))
    lines = [" " * width + "".join(f"{c:>8}" for c in columns)]
    for name, row in values.items():
        cells = (f"{row[c]:8.3f}" if c in row else "       -" for c in columns)
        lines.append(f"{name:{width}}" + "".join(cells))
    ranges = (np.ptp([r[c] for r in values.values() if c in r]) for c in columns)
    lines.append(f"{'max - min':{width}}" + "".join(f"{x:8.3f}" for x in ranges))
    return "\n".join(lines)


def draw(sets: dict[str, Yields], tracks: dict[str, dict], config: Config) -> None:
    """Net yields over mass, ejecta of the channels, tracks of the galaxy."""
    longest = max(sets.values(), key=lambda y: len(y.elements))
    elements = [e for e in longest.elements if e != "H"]
    curves = {name: net_curves(y, config.metallicity) for name, y in sets.items()}
    figure = plot_net_yields(curves, elements)
    plots.save_figure(figure, config.plots / "yields_net.png")
    ratios = {
        channel: {
            name: ejecta_ratios(y, channel, config.metallicity)
            for name, y in sets.items()
        }
        for channel in CHANNELS
    }
    figure = plot_ejecta(ratios, [*CHANNELS.values()])
    plots.save_figure(figure, config.plots / "yields_ejecta.png")
    # [He/Fe] is little else than -[Fe/H]
    names = [a for a in longest.abundances if a not in ("fe_h", "he_fe")]
    plots.save_figure(plot_tracks(tracks, names), config.plots / "yields_tracks.png")


def measure_spread(file: Path, config: Config) -> tuple[dict, str]:
    """Scatter of the sets by channel and element; a scale for the prior of a factor."""
    found = spread(config.metallicity, vice=config.vice)
    scales: dict[str, dict[str, float]] = {}
    for s in found:
        scales.setdefault(s.channel, {})[s.element] = round(s.sd, 3)
    names = sorted({name for s in found for name in s.sets} & set(PARTS))
    content = {
        "what": "standard deviation over published yield sets of log10 of the newly "
        "made mass of an element, averaged over the IMF, in dex",
        "alpha_imf": -2.3,
        "metallicity": config.metallicity,
        "reference": "tng",
        "scales": scales,
        "details": [s._asdict() for s in found],
        "sources": {n: f"{PARTS[n].paper} ({PARTS[n].source})" for n in names},
    }
    write_summary(file, content)
    lines = [f"{s.channel:6} {s.element:2} {s.sd:.3f} dex{above(s)}" for s in found]
    return content, "\n".join([*lines, f"written to {file}"])


def measure_slopes(file: Path, config: Config) -> tuple[dict, str]:
    """Factors and slopes from TNG to each set, and the slopes' root mean squares."""
    names = config.sets.split(",") if config.sets else list(PUBLISHED_SETS)
    emulator, prior, fits = load_yield_emulator(), cs.paper_prior(), []
    key = jax.random.key(config.seed)
    for name in tqdm(names, disable=config.quiet, desc="sets"):
        yields = cs.load_yields(name.strip(), vice=config.vice)
        fits.append(fit_slopes(key, yields, emulator, prior))  # key reuse: same stars
    scales = slope_scales(fits)
    content = {"scales": scales, "sets": {}}
    lines = [f"{name}: rms {scale:.3f} dex per dex" for name, scale in scales.items()]
    for name, fit in zip(names, fits, strict=True):
        each = dict(zip(SHARED_FACTORS, fit.factors.tolist(), strict=True))
        rms = {"constant_rms": fit.constant_rms, "sloped_rms": fit.sloped_rms}
        content["sets"][name] = {"factors": each} | rms
        lines.append(
            f"{name}: rms of the abundances {fit.constant_rms:.3f} dex with constant "
            f"factors, {fit.sloped_rms:.3f} dex with slopes"
        )
    write_summary(file, content)
    return content, "\n".join([*lines, f"written to {file}"])


def above(s: Spread) -> str:
    """How far the mean of the sets is from TNG, where that has the element."""
    return "" if np.isnan(s.mean) else f", mean {s.mean:+.3f} dex above tng"


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
