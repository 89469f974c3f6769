"""Columns of a table that name stars, or groups of stars."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from astropy.table import Table
from jaxtyping import Bool, Int

from chemsbi_jax.catalog.cells import column_of
from chemsbi_jax.catalog.ids import (
    CATALOGUE,
    IDS,
    NO_DIGIT,
    NO_NUMBER,
    one_spelling,
    read_ids,
    without,
)

STAR_IDS = (
    *IDS[:-1], "gaia_id", "gaia", "gaia_source_id", "gaiadr3_source_id",
    "gaiadr2_source_id", "dr3_source_id", "dr2_source_id", "gaia_dr3_source_id",
    "gaia_dr2_source_id", "gaiaedr3_source_id", "gaia_dr3_id", "gaiaedr3", "gaiadr3",
    "gaiadr2", "gaia_designation", "designation", "tmass_id", "tmass", "2mass",
    "_2mass", "twomass", "2mass_id", "sdss_id", "sdss4_apogee_id", "catalogid",
    "cname", "starname", "star_name", "hip", "hd", "tic", "tic_id", "kic", "epic",
    "kepid", "hostname", "main_id", "simbad_name", "uid", "lmj", "objid", "obj_id",
    "target_id",
)  # fmt: skip
"""Columns that name a star, not one of its spectra."""
OTHER_IDS = re.compile(
    r"(gaia|tmass|2mass|twomass|tic|hip|hipparcos|hd|kic|epic|tyc|tycho2?)(e?dr\d)?"
    r"(star|source|main|object)?(id|ids|name|no|num|number|designation)?"
    r"|(allwise|wise|sdss\d?|simbad|apogee|ucac\d?)(star|source|main|object)?"
    r"(id|name|designation)|(gaia)?e?dr\d(source)?id|sourcename|starid|starname|"
    r"(target|catalog|catalogue)id"
)
"""Other spellings of these, without what is no letter or digit."""

GROUPS = ("cluster", "field", "galaxy", "host", "region", "system", "stream", "dwarf",
          "halo", "sim", "simulation", "run", "subhalo", "gc", "oc")  # fmt: skip
"""Columns within which stars may be numbered from 1."""


PLACES = ("cluster", "field", "galaxy", "region", "dwarf", "gc", "oc")
"""Those of `GROUPS` whose stars may all have the position of the group."""
CLUSTERS = re.compile(
    r"(?<![^\x01])((ngc|ic|m|messier|mel|melotte|be|berkeley|cr|coll|collinder|tr|"
    r"trumpler|rup|ruprecht|king|stock|tombaugh|terzan|ter|pal|palomar|liller|djorg|djorgovski|"
    r"tonantzintla|hp|eso|am|ascc|ubc|upk|blanco|haffner|czernik|pismis|teutsch|br|"
    r"dolidze|saurer|bh|gulliver|coin-?gaia|roslund|basel|bochum|alessi|platais|fsr|"
    r"kronberger|hogg|harvard|westerlund|whiting|koposov|segue|arp|rsgc|theia|field|"
    r"cluster|group|oc|gc)-?\d+[a-z]?|eso\d+(sc)?-?(sc)?\d+|"
    r"(hyades|pleiades|praesepe|beehive|coma(ber(enices)?)?|(alpha|α)per(sei)?|"
    r"47tuc(anae)?|(omega?|ω|w)cen(tauri)?|rup106|"
    r"sculptor|fornax|carina|draco|ursaminor|umi|sextans|leo(i+|\d)|sgr|sagittarius|"
    r"lmc|smc|bootesi|crater(ii|2)|antlia(ii|2)|phoenix|tucana|cetus|gse|sequoia|"
    r"field|(inner|outer)?halo|bulge|bar|(thin|thick)?disc|(thin|thick)?disk)"
    r"(cluster|dsph|dwarf|gc|oc|field|stars?)?)(?![^\x01])",
    re.IGNORECASE,
)
"""Names of clusters, galaxies and fields, as `one_spelling` gives them."""
CATALOGUES = re.compile(r"(gaia|tmass|2mass|twomass|tic|hip|hd|kic|epic|tyc).*")
"""Columns of numbers that a catalogue has for one star each, without what is no letter
or digit."""
COMPONENTS = ("comp", "component", "m_hd", "m_hip", "m_name", "m_star", "m_id")
"""Columns with the component of a binary beside its name."""
COMPONENT = re.compile(
    r"(?<![^\x01])([a-f]{1,3}|[1-4]|p|s|pri(mary)?|sec(ondary)?)(?![^\x01])",
    re.IGNORECASE,
)
CATALOGUE_BEFORE = re.compile(rf"(?<![^\x01]){CATALOGUE}[ _-]?(?=\d)", re.IGNORECASE)
LONG_ID = 16  # digits, of a Gaia id in a column of any name
ENOUGH_DIGITS = 3  # of a number in a column of `CATALOGUES`


class IdColumn(NamedTuple):
    """A column that may name stars."""

    name: str
    labels: np.ndarray  # (row,) one spelling per id; "row N" without an id
    is_known: Bool[np.ndarray, " row"]  # has an id
    text: np.ndarray  # (row,) as read

    def star_numbers(self, rows: Int[np.ndarray, " some"]) -> np.ndarray:
        """Ids of these rows without the name of a catalogue: TIC 42 and 42 are one."""
        labels = self.labels[rows]
        names = np.flatnonzero(~np.char.isdigit(labels))
        labels[names] = without(CATALOGUE_BEFORE, labels[names])
        return labels

    def has_star_number(
        self, rows: Int[np.ndarray, " some"]
    ) -> Bool[np.ndarray, " some"]:
        """Rows whose id is the number of one star in a catalogue such as Gaia's."""
        labels = self.labels[rows]
        least = LONG_ID
        if CATALOGUES.fullmatch(_plain(self.name)) or "sourceid" in _plain(self.name):
            least = ENOUGH_DIGITS
        digits = np.char.str_len(without(NO_DIGIT, labels))
        is_id = ~is_cluster(labels) & (without(NO_NUMBER, labels) != "")
        return (digits >= least) & is_id & self.is_known[rows]


def columns_of_ids(
    name: str, table: Table, columns: Mapping[str, str], id_column: str | None
) -> list[IdColumn]:
    """Columns that may name stars, the chosen one first.

    Args:
        name: of the file.
        table: as read.
        columns: lower-case name -> name in the table.
        id_column: the chosen one; None: there is none.
    """
    like = [key for key in columns if OTHER_IDS.fullmatch(_plain(key))]
    names = [columns[key] for key in (*STAR_IDS, *like) if key in columns]
    first = [] if id_column is None else [id_column]
    components = [
        one_spelling(read_ids(name, table, columns[key]).ids)
        for key in COMPONENTS
        if key in columns and column_of(table, columns[key]).ndim == 1
    ]
    components = [np.where(_is_component(x), x, "") for x in components]
    found = []
    rows = np.char.add("row ", np.arange(len(table)).astype(str))
    for column in dict.fromkeys((*first, *names)):
        if column_of(table, column).ndim != 1:
            continue
        read = read_ids(name, table, column)
        is_text = column_of(table, column).dtype.kind in "SUO"
        spelled = one_spelling(read.ids) if is_text else read.ids
        for component in components:
            spelled = np.char.add(spelled, component)
        labels = np.where(read.is_known, spelled, rows)
        found.append(IdColumn(column, labels, read.is_known, read.ids))
    return found


def _is_component(labels: np.ndarray) -> Bool[np.ndarray, " label"]:
    """Which labels name a component of a binary: A, B, AB, Aa, 1, 2, p, s."""
    return (without(COMPONENT, labels) == "") & (labels != "")


def is_cluster(labels: np.ndarray) -> Bool[np.ndarray, " label"]:
    """Which labels name a cluster, a galaxy or a field, and so many stars.

    >>> is_cluster(np.array(["ngc188", "m67", "hd188"])).tolist()
    [True, True, False]
    """
    found = np.zeros(len(labels), bool)
    words = np.flatnonzero((labels != "") & ~np.char.isdigit(labels))
    found[words] = without(CLUSTERS, labels[words]) == ""
    return found


def groups_of(
    table: Table, columns: Mapping[str, str], id_columns: Sequence[IdColumn]
) -> list[np.ndarray]:
    """Labels of the rows in each column of groups of stars, such as clusters.

    Args:
        table: as read.
        columns: lower-case name -> name in the table.
        id_columns: columns that may name stars, or clusters.
    """
    cells = [column_of(table, columns[key]) for key in PLACES if key in columns]
    groups = [np.asarray(cell).astype(str) for cell in cells if cell.ndim == 1]
    labels = [ids.labels for ids in id_columns]
    return groups + [label for label in labels if is_cluster(label).any()]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
