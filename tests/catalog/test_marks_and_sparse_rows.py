"""Stars that are no copies: marks in columns of ids, sparse rows, large errors."""

import numpy as np
import pytest

import chemsbi_jax as cs

N = 300
HEADER = ("id", "other", "fe_h", "e_fe_h", "mg_fe", "e_mg_fe", "o_fe", "e_o_fe")


def read(folder, other, name="hip", error=0.1, sparse=0):
    """Stars with unique ids, and a second column that may name stars."""
    draw = np.random.default_rng(1)
    values = draw.normal([-0.3, 0.1, 0.15], [0.2, 0.1, 0.1], (N, 3)).round(2)
    lines = [",".join(HEADER).replace("other", name)]
    for i, row in enumerate(values):
        cells = [x for value in row for x in (value, error)]
        if i < sparse:
            cells[2:] = [""] * 4
        lines.append(",".join(map(str, (f"s{i}", other[i], *cells))))
    path = folder / "stars.csv"
    path.write_text("\n".join(lines) + "\n")
    return cs.read_catalog(path).report


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("mark", [0, -1, -9999])
def test_a_mark_of_no_id_is_no_star(tmp_path, share, mark):
    is_marked = np.random.default_rng(2).uniform(size=N) < share
    report = read(tmp_path, np.where(is_marked, mark, 10_000 + np.arange(N)))
    assert report.n_used == N


def test_rows_of_one_abundance_are_no_copies(tmp_path):
    report = read(tmp_path, 10_000 + np.arange(N), sparse=100)
    assert report.n_used == N
    assert not report.warnings


@pytest.mark.parametrize(
    ("name", "labels", "reason"),
    [
        ("star", ["dwarf", "giant"], "differ as much as those of other rows"),
        ("designation", ["Sgr dSph", "Fornax"], "is the name of a group of stars"),
        ("object_id", list(range(1, 21)), "differ as much as those of other rows"),
    ],
)
def test_labels_of_groups_name_no_star(tmp_path, name, labels, reason):
    """The abundances of one label differ as much as those of two."""
    report = read(tmp_path, np.resize(labels, N), name=name, error=0.3)
    assert report.n_used == N
    assert any(reason in text for text in report.warnings)


def test_rows_of_one_star_are_still_found(tmp_path):
    draw = np.random.default_rng(3)
    stars = draw.normal([-0.3, 0.1, 0.15], [0.3, 0.15, 0.15], (60, 3))
    lines = ["name,fe_h,e_fe_h,mg_fe,e_mg_fe,o_fe,e_o_fe"]
    for i in np.repeat(np.arange(60), 2):
        row = stars[i] + 0.05 * draw.normal(size=3)
        cells = [x for value in row.round(3) for x in (value, 0.05)]
        lines.append(",".join(map(str, (f"HD {i + 100}", *cells))))
    (tmp_path / "two.csv").write_text("\n".join(lines) + "\n")
    report = cs.read_catalog(tmp_path / "two.csv").report
    assert report.reasons == {"the id (name) stands in an earlier row": 60}


def test_minus_nine_is_no_abundance(tmp_path):
    header = "id,fe_h,e_fe_h,mg_fe,e_mg_fe,o_h,e_o_h"
    draw = np.random.default_rng(4)
    rows = draw.normal([-0.3, 0.1, -0.1], 0.2, (60, 3)).round(3)
    rows[5, 2], rows[7, 0] = -9.0, -9.0
    lines = [f"s{i},{r[0]},0.05,{r[1]},0.05,{r[2]},0.05" for i, r in enumerate(rows)]
    (tmp_path / "nine.csv").write_text("\n".join([header, *lines]) + "\n")
    found = cs.read_catalog(tmp_path / "nine.csv")
    seen = found.stars.observed
    oxygen, iron = (cs.ABUNDANCES.index(name) for name in ("o_fe", "fe_h"))
    assert not seen[5, oxygen]
    assert not seen[7, iron]
    assert any("[X/H] was not used there" in note for note in found.report.notes)
