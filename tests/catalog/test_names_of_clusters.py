"""Different stars with one label or position, and one star in several spellings."""

import numpy as np
import pytest
from astropy.table import Table

import chemsbi_jax as cs

N, CLUSTERS = 40, 8
GAIA = [str(604911135364478976 + 7919 * i) for i in range(N)]
NUMBERS = ("fe_h", "e_fe_h", "mg_fe", "e_mg_fe")


def read(folder, columns, scatter=0.04):
    """Stars whose abundances agree within the errors in each of eight clusters."""
    draw = np.random.default_rng(5)
    means = np.repeat(draw.normal([-0.2, 0.1], [0.3, 0.1], (CLUSTERS, 2)), 5, axis=0)
    values = means + scatter * draw.normal(size=(N, 2))
    lines = [",".join((*columns, *NUMBERS))]
    for i, (iron, magnesium) in enumerate(values.round(3)):
        cells = (*(column[i] for column in columns.values()), iron, 0.05, magnesium)
        lines.append(",".join(map(str, (*cells, 0.05))))
    path = folder / "stars.csv"
    path.write_text("\n".join(lines) + "\n")
    return cs.read_catalog(path).report


def of_clusters(names):
    return np.repeat(names, 5).tolist()


@pytest.mark.parametrize("name", ["name", "object_id", "tic", "main_id", "designation"])
def test_other_gaia_ids_are_other_stars(tmp_path, name):
    labels = of_clusters([f"Cl {i}" for i in range(CLUSTERS)])
    report = read(tmp_path, {name: labels, "source_id": GAIA})
    assert report.n_used == N
    (warning,) = report.warnings
    assert "but they have another source_id" in warning
    # without other ids these may be visits of one star
    assert read(tmp_path, {name: labels}).n_used == CLUSTERS


def test_copies_within_a_cluster_are_still_dropped(tmp_path):
    ids = list(GAIA)
    ids[1] = ids[0]
    labels = of_clusters([f"Cl {i}" for i in range(CLUSTERS)])
    report = read(tmp_path, {"name": labels, "source_id": ids})
    assert report.n_used == N - 1


@pytest.mark.parametrize("more", ["star", "id", "cluster_no"])
def test_names_of_clusters_are_no_stars(tmp_path, more):
    names = ["M 67", "NGC 188", "IC 4651", "Melotte 22", "Berkeley 17", "Collinder 69",
             "Hyades", "47 Tuc"]  # fmt: skip
    count = np.arange(N) if more == "star" else np.arange(N) % 5 + 1
    report = read(tmp_path, {"name": of_clusters(names), more: count.tolist()})
    assert report.n_used == N
    assert any("M 67 is the name of a group of stars" in t for t in report.warnings)


@pytest.mark.parametrize("more", ["source_id", "cluster"])
def test_the_position_of_a_cluster_is_that_of_no_star(tmp_path, more):
    draw = np.random.default_rng(6)
    ra, dec = (of_clusters(x) for x in draw.uniform(10.0, 60.0, (2, CLUSTERS)).round(5))
    labels = GAIA if more == "source_id" else of_clusters(list("ABCDEFGH"))
    report = read(tmp_path, {more: labels, "ra": ra, "dec": dec})
    assert report.n_used == N
    assert any("lie within 1.5 arcsec" in text for text in report.warnings)


def test_zero_is_no_position(tmp_path):
    draw = np.random.default_rng(6)
    ra, dec = draw.uniform(10.0, 60.0, (2, N)).round(5)
    ra[:4] = dec[:4] = 0.0
    ids = [f"S{i}" for i in range(N)]
    report = read(tmp_path, {"id": ids, "ra": ra, "dec": dec})
    assert report.n_used == N
    assert not report.warnings


MARKS = ["?", "#N/A", "N.A.", "n.d.", "\N{HORIZONTAL ELLIPSIS}", "anonymous", "TBD",
         "XXX", "0", "HIP 0"]  # fmt: skip


@pytest.mark.parametrize("mark", MARKS)
def test_two_marks_of_no_id_are_two_stars(tmp_path, mark):
    ids = [f"Star {i}" for i in range(N)]
    ids[0] = ids[1] = mark
    report = read(tmp_path, {"star_id": ids})
    assert report.n_used == N
    assert any("counts as a star" in note for note in report.notes)


@pytest.mark.parametrize("name", ["source_id", "hip"])
def test_two_zeros_beside_numbers_are_two_stars(tmp_path, name):
    numbers = GAIA if name == "source_id" else [str(10_000 + i) for i in range(N)]
    numbers[0] = numbers[1] = "0"
    columns = {"id": [f"S{i}" for i in range(N)], name: numbers}
    assert read(tmp_path, columns).n_used == N


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HD 10700", "hd  10700"),
        ("HD010700", "HD 10700"),
        ("Gaia DR3 604911135364478", "604911135364478"),
        ("2MASS J10000000+2000000", "2M10000000+2000000"),
        ("BD-12 100", "BD\N{MINUS SIGN}12 100"),
    ],
)
def test_spellings_of_one_id_are_one_star(tmp_path, one, other):
    names = [f"Star {i}" for i in range(N)]
    names[0], names[1] = one, other
    report = read(tmp_path, {"name": names})
    assert report.reasons == {"the id (name) stands in an earlier row": 1}


def test_components_of_a_binary_are_two_stars(tmp_path):
    names = [f"HD {1000 + 37 * (i // 2)}" for i in range(N)]
    report = read(tmp_path, {"name": names, "comp": ["A", "B"] * (N // 2)})
    assert report.n_used == N
    assert not report.warnings
    assert not report.notes
    # visits of one component are one star
    report = read(tmp_path, {"name": of_clusters(names[::5]), "comp": ["A"] * N})
    assert report.n_used == CLUSTERS


def test_one_mark_of_no_id_is_no_other_star(tmp_path):
    names = [f"Star {i}" for i in range(N)]
    names[1] = names[0]
    ids = [*GAIA[:1], "-9999", *GAIA[2:]]
    assert read(tmp_path, {"name": names, "source_id": ids}).n_used == N - 1


def test_numbers_in_single_precision_are_rounded(tmp_path):
    table = Table()
    table["tic"] = (123456789 + np.arange(N)).astype(np.float32)
    draw = np.random.default_rng(7)
    for name in ("fe_h", "mg_fe"):
        table[name] = draw.normal(0.0, 0.03, N)
        table[f"e_{name}"] = 0.05
    path = tmp_path / "stars.fits"
    table.write(path)
    assert cs.read_catalog(path).report.n_used == N


def test_letters_in_two_cases_may_number_different_stars(tmp_path):
    names = [f"{letter}{i}" for letter in "Aa" for i in range(N // 2)]
    report = read(tmp_path, {"name": names})
    assert report.n_used == N
    assert not report.warnings


def test_visits_in_a_system_are_one_star(tmp_path):
    draw = np.random.default_rng(6)
    ra, dec = (of_clusters(x) for x in draw.uniform(10.0, 60.0, (2, CLUSTERS)).round(5))
    ids = [f"S{i}" for i in range(N)]
    columns = {"id": ids, "system": of_clusters(list("ABCDEFGH")), "ra": ra, "dec": dec}
    assert read(tmp_path, columns).n_used == CLUSTERS


def test_a_number_with_and_without_its_catalogue_is_one(tmp_path):
    labels = of_clusters([f"K{i}" for i in range(CLUSTERS)])
    numbers = of_clusters([f"{123456 + 7 * i}" for i in range(CLUSTERS)])
    tic = [f"TIC {x}" if i % 2 else x for i, x in enumerate(numbers)]
    report = read(tmp_path, {"name": labels, "tic": tic})
    assert (report.n_used, report.warnings) == (CLUSTERS, ())


@pytest.mark.parametrize(
    "pattern",
    ["NGC 188-{}", "Mel 71 {}", "M67-{}", "Hya {}", "47 Tuc {}", "Sgr {}", "HR {}"],
)
def test_names_of_stars_that_begin_as_clusters_are_ids(tmp_path, pattern):
    labels = of_clusters([pattern.format(111 + i) for i in range(CLUSTERS)])
    report = read(tmp_path, {"name": labels})
    assert (report.n_used, report.warnings) == (CLUSTERS, ())
