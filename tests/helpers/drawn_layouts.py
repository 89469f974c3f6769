"""A table with known content in a drawn layout: names, forms, errors, ids, file."""

import warnings
from typing import NamedTuple

import numpy as np
from astropy.table import Table
from hypothesis import strategies as st

from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.yields.elements import SOLAR
from helpers.drawn_files import as_file

READ = ("fe_h", "mg_fe", "o_fe", "si_fe")
T_END = 13.797617  # Gyr
PERCENT = 0.01 / np.log(10.0)  # dex
I = {name: i for i, name in enumerate(ABUNDANCES)}  # noqa: E741


class Known(NamedTuple):
    """What a table says."""

    values: np.ndarray  # (star, 8) [dex]; NaN where missing or a limit
    errors: np.ndarray  # as they stand: of [X/H] in tables of that
    ages: np.ndarray | None  # Gyr
    e_ages: np.ndarray | None
    is_over_h: bool  # errors of [X/Fe] are then made from two


class Drawn(NamedTuple):
    """A file, how it should be read, and what it says."""

    name: str
    content: bytes
    options: dict  # of CatalogOptions
    known: Known
    columns: dict[str, str]  # our name -> column in the table
    n_stars: int
    what: str  # the layout, for a message


SPELLINGS = {
    "ours": lambda x, h: f"{x}_{h}",
    "brackets": lambda x, h: f"[{x.capitalize()}/{h.capitalize()}]",
    "upper": lambda x, h: f"{x}_{h}".upper(),
    "topcat": lambda x, h: f"__{x.capitalize()}_{h.capitalize()}_",
    "joined": lambda x, h: f"{x.capitalize()}{h.capitalize()}",
}
ERRORS = {
    "e_": "e_{}",
    "_err": "{}_err",
    "sigma_": "sigma_{}",
    "pair by case": "",
    "pair by words": "",
    "percentiles": "",
    "percent": "{}_err_pct",
    "% in the name": "e_{}(%)",
    "variance": "var_{}",
    "natural": "{}_err_ln",
    "none": "",
}
AGES = ("none", "Gyr", "Myr unit", "Myr in the name", "Myr", "log", "ln", "birth",
        "no error")  # fmt: skip
NULLS = ("", "nan", "-9999", "99.99", "--", "null")
IDS = ("words", "hashes", "numbers", "gaia", "none")
FILES = ("csv", "tab", "space", "semicolon", "pipe", "ipac", "mrt", "savetxt",
         "votable", "vizier", "fits", "ecsv", "bom", "gz", "utf-16", "title", "crlf",
         "trailing", "quoted", "fixed width", "long", "transposed",
         "vectors")  # fmt: skip


@st.composite
def drawn_tables(draw):
    """A `Drawn` of any layout."""
    pick = {
        "form": draw(st.sampled_from(("over fe", "over fe", "over h", "absolute"))),
        "spelling": draw(st.sampled_from(list(SPELLINGS))),
        "errors": draw(st.sampled_from(list(ERRORS) + ["e_"] * 6)),
        "ages": draw(st.sampled_from(AGES)),
        "null": draw(st.sampled_from(NULLS)),
        "ids": draw(st.sampled_from(IDS)),
        "file": draw(st.sampled_from(FILES)),
        "is_limited": draw(st.booleans()),
        "is_named": draw(st.booleans()),
        "more": draw(st.booleans()),
    }
    n, seed = draw(st.integers(3, 24)), draw(st.integers(0, 10**6))
    return make(np.random.default_rng(seed), n, **pick)


def make(rng, n, form, spelling, errors, ages, null, ids, file, is_limited, is_named,
         more) -> Drawn:  # fmt: skip
    """The file of `drawn_tables`, for given choices."""
    values, sigma = stars(rng, n)
    known = values.copy()
    table, columns, asked = Table(), {}, {}
    id_column = add_ids(table, rng, n, ids)
    for x in READ:
        i, element = I[x], x.split("_")[0]
        over = "fe" if form == "over fe" and x != "fe_h" else "h"
        key = x if over == "fe" or x == "fe_h" else f"{element}_h"
        cells, column = values[:, i], SPELLINGS[spelling](element, over)
        if over == "h" and x != "fe_h":
            cells = np.round(values[:, i] + values[:, I["fe_h"]], 3)
        if form == "absolute":
            column = f"A({element.capitalize()})"
            cells = np.round(cells + SOLAR[element.capitalize()], 3)
            asked[key] = column
        columns[x] = column
        table[column] = cells
        add_errors(table, column, cells, sigma[:, i], errors)
        if errors in ("percent", "% in the name", "variance", "natural") and is_named:
            asked |= conversion(key, column, errors)
    if is_limited:
        rows = rng.random(n) < 0.3
        table[f"l_{columns['o_fe']}"] = np.where(rows, "<", "")
        known[rows, I["o_fe"]] = np.nan
    given = add_ages(table, rng, n, ages, is_named, asked)
    if more:
        table["snr"] = np.round(rng.uniform(30, 90, n), 1)
        table["N(Fe)"] = rng.integers(3, 40, n)
    asked = {k: v for k, v in asked.items() if v}
    options = {"columns": ",".join(f"{k}={v}" for k, v in asked.items())}
    if errors == "none":
        options["default_error"] = 0.07
        sigma = np.full_like(sigma, 0.07)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy, of names that a format rewrites
        name, content = as_file(table, columns, file, null, id_column)
    said = f"{form}, {spelling}, errors {errors}, ages {ages}, ids {ids}, {file}"
    answer = Known(known, sigma, *given, form != "over fe")
    return Drawn(name, content, options, answer, columns, n, said)


def stars(rng, n):
    """Values and errors of `READ` in the columns of `ABUNDANCES`; some are missing."""
    values, sigma = np.full((2, n, len(ABUNDANCES)), np.nan)
    iron = rng.uniform(-0.9, 0.4, n)
    for name, height, slope in zip(READ, (0, 0.2, 0.3, 0.1), (1, -0.3, -0.4, -0.2),
                                   strict=True):  # fmt: skip
        noisy = height + slope * iron + rng.normal(0, 0.05, n)
        values[:, I[name]] = np.round(noisy, 3)
        sigma[:, I[name]] = np.round(rng.uniform(0.03, 0.09, n), 3)
    values[rng.random(n) < 0.15, I["mg_fe"]] = np.nan
    return values, sigma


def add_ids(table, rng, n, kind):
    """The name of the column of ids, or None."""
    if kind == "none":
        return None
    words = {
        "words": [f"S{i:03d}" for i in range(n)],
        "hashes": [f"#{i + 1}" for i in range(n)],
        "numbers": np.arange(n) + 101,
        "gaia": 4295806720 + 10**15 * np.arange(1, n + 1),
    }[kind]
    name = "source_id" if kind == "gaia" else "star"
    table[name] = words
    return name


def add_errors(table, column, cells, sigma, form):
    """Columns of the errors of a value."""
    sigma = np.where(np.isfinite(cells), sigma, np.nan)
    if form == "pair by case":
        table[f"E_{column}"], table[f"e_{column}"] = sigma + 0.01, sigma - 0.01
    elif form == "pair by words":
        table[f"{column}_err_up"] = sigma + 0.01
        table[f"{column}_err_low"] = 0.01 - sigma  # signed
    elif form == "percentiles":
        table[f"{column}_lower"] = np.round(cells - sigma, 3)
        table[f"{column}_upper"] = np.round(cells + sigma, 3)
    elif form != "none":
        scale = {"percent": 1 / PERCENT, "% in the name": 1 / PERCENT,
                 "natural": 0.01 / PERCENT}.get(form, 1.0)  # fmt: skip
        stands = sigma**2 if form == "variance" else np.round(sigma * scale, 4)
        table[ERRORS[form].format(column)] = stands


def conversion(key, column, form):
    """What a user gives for errors in another form."""
    name = ERRORS[form].format(column)
    text = {
        "variance": f"sqrt({name})",
        "natural": f"{name}*0.434294",
    }.get(form, f"{name}*{PERCENT:.7f}")
    return {f"e_{key}": text}


def add_ages(table, rng, n, kind, is_named, asked):
    """Columns of times; the ages and errors [Gyr] that are to be found."""
    if kind == "none":
        return None, None
    age, sigma = np.round(rng.uniform(1.5, 12, n), 2), np.round(rng.uniform(1, 2, n), 2)
    name, scale = {"Myr unit": ("age", 1e3), "Myr in the name": ("Age(Myr)", 1e3),
                   "Myr": ("age", 1e3)}.get(kind, ("age", 1.0))  # fmt: skip
    if kind in ("log", "ln"):
        name, log = ("logAge", np.log10) if kind == "log" else ("ln_age", np.log)
        table[name] = np.round(log(age), 5)
        text = "10**logAge" if kind == "log" else "10**(0.4342945*ln_age)"
        asked["age"] = text if is_named else ""
        return age, None
    if kind == "birth":
        table["birth_time"], table["e_birth_time"] = np.round(T_END - age, 4), sigma
        return age, sigma
    table[name] = age * scale
    if kind == "Myr unit":
        table[name].unit = "Myr"
    if kind == "Myr in the name":
        asked["age"] = name if is_named else ""
    if kind == "no error":
        return age, None
    table[f"e_{name}"] = sigma * scale
    table[f"e_{name}"].unit = table[name].unit
    return age, sigma
