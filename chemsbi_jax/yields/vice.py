"""Tables of VICE 1.3.1 (MIT): Sukhbold 2016, FRUITY, Ventura 2013, SNe Ia.

They are read as text from its source archive or folder (`packages.vice_tables`).
"""

from pathlib import Path

import numpy as np

from chemsbi_jax.yields.elements import SYMBOLS
from chemsbi_jax.yields.errors import YieldsError
from chemsbi_jax.yields.galcem import fruity_gross
from chemsbi_jax.yields.packages import vice_tables
from chemsbi_jax.yields.parts import Models, Part, explosion, from_net

SOURCE = "VICE 1.3.1"
SUKHBOLD = "Sukhbold+ 2016, ApJ 821, 38"
CRISTALLO = "Cristallo+ 2011, ApJS 197, 17; 2015, ApJS 219, 40 (FRUITY)"
VENTURA = "Ventura+ 2013, MNRAS 431, 3642; 2014, 437, 3274; 2018, 475, 2282; 2020"
KARAKAS16 = "Karakas & Lugaro 2016, ApJ 825, 26"
SEITENZAHL = "Seitenzahl+ 2013, MNRAS 429, 1156"
GRONOW = "Gronow+ 2021, A&A 649, A155; A&A 656, A94"


def _by_symbol(tables: dict[str, str], folder: str) -> dict[str, str]:
    """Chemical symbol -> text of its file right below a folder of `vice/yields`."""
    files = {}
    for name, text in tables.items():
        parent, _, file = name.rpartition("/")
        symbol = file.removesuffix(".dat").capitalize()
        if parent == folder and symbol in SYMBOLS:
            files[symbol] = text
    if not files:
        raise YieldsError(f"VICE's source has no tables in vice/yields/{folder}.")
    return {s: files[s] for s in SYMBOLS if s in files}


def _numbers(text: str) -> np.ndarray:
    lines = (line.partition("#")[0].split() for line in text.splitlines())
    return np.array([[float(x) for x in words] for words in lines if words])


def sukhbold(engine: str, path: Path | None = None) -> Part:
    """Core collapse of solar stars by a calibrated engine (Sukhbold+ 2016).

    A star that explodes leaves what is inside of its S = 4 shell; one that collapses
    has ejected its wind alone. Hydrogen is what is left of the ejected mass. The only
    metallicity serves all.

    Args:
        engine: W18, N20, or W18F, in which all stars explode.
        path: VICE's source; by default that in `CHEMSBI_VICE`.
    """
    tables = vice_tables(path)
    folder = f"ccsne/S16/{engine}/FeH0"
    exploded, lost = (
        {e: _numbers(t) for e, t in _by_symbol(tables, f"{folder}/v0/{kind}").items()}
        for kind in ("explosive", "wind")
    )
    symbols = tuple(exploded)
    masses = exploded["Fe"][1:, 0]  # the first row, 8 Msun, has no model
    explosions = np.stack([exploded[s][1:, 1:].sum(axis=1) for s in symbols], axis=1)
    winds = np.stack([lost[s][1:, 1:].sum(axis=1) for s in symbols], axis=1)
    stars = _pre_supernova(tables["ccsne/engines/pre_sn.dat"])
    before, shell = np.array([stars[m] for m in masses]).T
    ejected = masses - np.where(explosions.sum(axis=1) > 0.0, shell, before)
    heavy = explosions + winds
    hydrogen = ejected - heavy.sum(axis=1)
    gross = np.concatenate([hydrogen[:, None], heavy], axis=1)
    born = _birth_composition(tables[f"{folder}/birth_composition.dat"])
    initial = np.array([born[s] for s in symbols])
    initial = np.concatenate([[1.0 - initial.sum()], initial])
    metals = float(initial[2:].sum())
    net = gross - initial * ejected[:, None]
    models = Models(metals, masses, initial, gross, net, ejected)
    return Part(
        f"s16{engine.lower()}", "sn2", SUKHBOLD, f"{SOURCE}, engine {engine}",
        ("H", *symbols), (models,),
    )  # fmt: skip


def _pre_supernova(text: str) -> dict[float, tuple[float, float]]:
    """Initial mass -> mass before the collapse, mass inside of S = 4 [Msun]."""
    rows = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return {float(r[1]): (float(r[2]), float(r[5])) for r in rows if r}


def _birth_composition(text: str) -> dict[str, float]:
    rows = (line.split() for line in text.splitlines() if line.strip())
    return {r[0].capitalize(): float(r[1]) for r in rows}


def _agb_grid(
    folder: str, path: Path | None
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray, np.ndarray]:
    """Symbols, masses, metallicities, and net yields (Z, mass, element) in Msun."""
    files = _by_symbol(vice_tables(path), f"agb/{folder}")
    grids = [_numbers(text) for text in files.values()]
    masses, metallicities = (np.unique(grids[0][:, i]) for i in (0, 1))
    shape = len(masses), len(metallicities)
    net = np.stack([g[:, 2].reshape(shape).T for g in grids], axis=-1)
    return tuple(files), masses, metallicities, net * masses[:, None]


def cristallo(path: Path | None = None) -> Part:
    """FRUITY: net yields from VICE, all that is ejected from galcem.

    Hydrogen is minus the sum of the net yields of all others.
    """
    symbols, masses, metallicities, net = _agb_grid("cristallo11", path)
    gross = fruity_gross()
    net = np.concatenate([-net.sum(axis=-1, keepdims=True), net], axis=-1)
    symbols = ("H", *symbols)
    models = []
    for z, of_z in zip(metallicities, net, strict=True):
        stars = [gross[float(m), float(z)] for m in masses]
        ejected = np.array([sum(star.values()) for star in stars])
        table = np.array([[star.get(s, 0.0) for s in symbols] for star in stars])
        born = np.median((table - of_z) / ejected[:, None], axis=0)
        models.append(Models(float(z), masses, born, table, of_z, ejected))
    source = f"{SOURCE} (net) and galcem 0.0.2b0 (gross)"
    return Part("c15", "agb", CRISTALLO, source, symbols, tuple(models))


def ventura(path: Path | None = None) -> Part:
    """AGB stars with strong hot-bottom burning (Ventura+ 2013).

    The tables have He, C, N, O, Ne to Si, and no ejected mass: the remnant is that of
    Kalirai+ 2008 (ApJ 676, 594), 0.394 + 0.109 M, good to 0.05 Msun. X0 is not known.
    """
    return _agb_without_ejected("ventura13", path)._replace(name="v13", paper=VENTURA)


def _agb_without_ejected(folder: str, path: Path | None) -> Part:
    symbols, masses, metallicities, net = _agb_grid(folder, path)
    net = np.concatenate([-net.sum(axis=-1, keepdims=True), net], axis=-1)
    ejected = masses - (0.394 + 0.109 * masses)
    unknown = np.full(net.shape[-1], np.nan)
    models = tuple(
        from_net(float(z), masses, unknown, of_z, ejected)
        for z, of_z in zip(metallicities, net, strict=True)
    )
    return Part(folder, "agb", "", SOURCE, ("H", *symbols), models)


def karakas16(path: Path | None = None) -> Part:
    """Karakas & Lugaro 2016 as VICE has it, with the remnants of Kalirai+ 2008.

    From Z = 0.007 up these AGB stars make iron, which the closure test refuses.
    """
    part = _agb_without_ejected("karakas16", path)
    return part._replace(name="k16", paper=KARAKAS16)


def sn_ia(folder: str, name: str, paper: str, path: Path | None = None) -> Part:
    """A SN Ia of Seitenzahl+ 2013, Gronow+ 2021 or Iwamoto+ 1999.

    Args:
        folder: below `vice/yields/sneia`, such as "seitenzahl13/N100".
        name: of the part.
        paper: its citation.
        path: VICE's source; by default that in `CHEMSBI_VICE`.
    """
    files = _by_symbol(vice_tables(path), f"sneia/{folder}")
    ejecta = {
        symbol: sum(float(line.split()[1]) for line in text.splitlines()[1:] if line)
        for symbol, text in files.items()
    }
    models = explosion(np.array([*ejecta.values()]))
    return Part(name, "sn_ia", paper, SOURCE, tuple(ejecta), models)
