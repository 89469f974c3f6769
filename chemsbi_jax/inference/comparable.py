"""Which catalogues can be combined: one prior, and no star twice."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from chemsbi_jax.constants import N_GLOBAL, SHARED_FACTORS
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.hierarchical.yield_prior import mixing_matrix
from chemsbi_jax.inference.catalogues import About, Catalogue
from chemsbi_jax.priors import moments, paper_prior

ROUNDING = 1e-6  # of prior scales, relative
MOST_COPIES = 0.1  # share of the stars of the smaller catalogue
ENOUGH_ABUNDANCES = 4  # of a star that is recognised
FARTHEST = 10.0  # prior widths
N_NAMED = 3  # pairs of stars in a message
DECIMALS = 4  # dex, of abundances that are the same


class Whitening(NamedTuple):
    """Affine map to parameters whose prior is a standard normal distribution."""

    centre: Float[np.ndarray, " common"]
    root: Float[np.ndarray, "common common"]  # lower triangular

    def apply(
        self, x: Float[np.ndarray, "*b common"]
    ) -> Float[np.ndarray, "*b common"]:
        """Whitened parameters."""
        return np.linalg.solve(self.root, (x - self.centre).T).T

    def scale(self) -> Float[np.ndarray, " common"]:
        """Prior widths of the parameters in their units."""
        return np.linalg.norm(self.root, axis=1)

    def undo(self, x: Float[np.ndarray, "*b common"]) -> np.ndarray:
        """Parameters in their units."""
        return self.centre + x @ self.root.T


def prior_of(scales: Mapping[str, float]) -> Whitening:
    """The prior of the galaxy, and of yield factors and slopes with these scales."""
    rows = [SHARED_FACTORS.index(name) for name in scales]
    scale = np.array([*scales.values()])[:, None]
    factors = scale * mixing_matrix(SHARED_FACTORS)[rows]
    n = N_GLOBAL + len(rows)
    root, centre = np.zeros((n, n)), np.zeros(n)
    centre[:N_GLOBAL], sd = moments(paper_prior()[:N_GLOBAL])
    root[:N_GLOBAL, :N_GLOBAL] = np.diag(sd)
    root[N_GLOBAL:, N_GLOBAL:] = np.linalg.cholesky(factors @ factors.T)
    return Whitening(centre, root)


def require_comparable(catalogues: Sequence[Catalogue]) -> None:
    """Refuse what can't be independent catalogues of one galaxy with one prior.

    Raises:
        InputError: fewer than two catalogues, two that have the same stars or draws, or
            different priors.
    """
    if len(catalogues) < 2:
        raise InputError(
            f"Expected at least two catalogues; got {len(catalogues)}. Give the folder "
            "of another run of `chemsbi infer`."
        )
    for first, second in combinations(catalogues, 2):
        same = first.about.stars is not None and first.about.stars == second.about.stars
        if same or np.array_equal(first.draws, second.draws):
            what = "stars" if same else "draws"
            raise InputError(
                f"Expected different catalogues; {first.name} and {second.name} have "
                f"the same {what}, which would count twice. Leave one out."
            )
        found, share = copies(first, second)
        if share > MOST_COPIES:
            raise InputError(
                f"Expected catalogues without common stars; {len(found)} stars of "
                f"{first.name} have the abundances of stars of {second.name} "
                f"({_some(found)}), and would count twice. Leave one of the "
                "catalogues out, or these stars."
            )
        _require_same_prior(first, second)


def repeated_stars(catalogues: Sequence[Catalogue]) -> list[str]:
    """Warnings of stars that may be in two catalogues, and count twice then."""
    found = [
        f"{c.about.unread}, so that the stars of {c.name} were not compared with those "
        "of the other catalogues. Mend the file, or repeat `chemsbi infer`."
        for c in catalogues
        if c.about.unread
    ]
    for first, second in combinations(catalogues, 2):
        pairs, _ = copies(first, second)
        if pairs:
            found.append(
                f"{len(pairs)} of {len(first.about.ids)} compared stars of "
                f"{first.name} have the abundances of stars of {second.name} "
                f"({_some(pairs)}). If they are the same stars, they count twice: "
                "leave them out of one table and repeat `chemsbi infer`."
            )
    return found


def _some(pairs: Sequence[tuple[str, str]]) -> str:
    """The ids of at most `N_NAMED` pairs of stars."""
    named = ", ".join(f"{one} = {other}" for one, other in pairs[:N_NAMED])
    return named + ", ..." * (len(pairs) > N_NAMED)


def require_plausible(catalogue: Catalogue, prior: Whitening) -> None:
    """Refuse draws that no posterior with this prior has.

    Raises:
        InputError: a column is constant, or a draw is very far from the prior; names
            the column and the row.
    """
    distance = np.abs(catalogue.draws - prior.centre) / prior.scale()
    for i, name in enumerate(catalogue.parameters):
        row = int(np.argmax(distance[:, i]))
        value = catalogue.draws[row, i]
        if np.ptp(catalogue.draws[:, i]) == 0.0:
            problem = f"{value:g} in all rows"
        elif distance[row, i] > FARTHEST:
            problem = f"{value:g} in row {row + 1}"
        else:
            continue
        raise InputError(
            f"Expected draws of {catalogue.name} that differ, within {FARTHEST:g} "
            f"prior widths; got {problem}, column {name}. Repeat `chemsbi infer`."
        )


def _require_same_prior(first: Catalogue, second: Catalogue) -> None:
    values, expected = ([*c.scales.values()] for c in (second, first))
    same_names = list(first.scales) == list(second.scales)
    if not same_names or not np.allclose(values, expected, rtol=ROUNDING, atol=0.0):
        raise InputError(
            "Expected the same prior of the yields for all catalogues, as they have "
            f"the yields in common; {first.name} and {second.name} differ. Repeat "
            "`chemsbi infer` with the same --hold and --shared-priors."
        )


def copies(first: Catalogue, second: Catalogue) -> tuple[list[tuple[str, str]], float]:
    """Ids of stars with the same abundances (four or more), and their share.

    The share is that of the smaller of both catalogues.
    """
    if first.about.abundances is None or second.about.abundances is None:
        return [], 0.0
    one, other = _rows(first.about), _rows(second.about)
    pairs = [(id_, other[row]) for row, id_ in one.items() if row in other]
    return pairs, len(pairs) / max(min(len(one), len(other)), 1)


def _rows(about: About) -> dict[bytes, str]:
    """The id of a star by its abundances."""
    values = np.asarray(about.abundances)
    # fewer abundances of two decimals agree by chance
    many = np.isfinite(values).sum(axis=1) >= ENOUGH_ABUNDANCES
    rounded = np.round(values[many], DECIMALS) + 0.0  # no minus before a zero
    each = zip(
        np.nan_to_num(rounded, nan=99.0),
        np.asarray(about.ids, object)[many],
        strict=True,
    )
    return {row.tobytes(): id_ for row, id_ in each}
