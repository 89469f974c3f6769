"""report.html: escaping, structure, numbers and figures."""

import re
import shlex
from copy import deepcopy

import numpy as np
import pytest
import tyro

from chemsbi_jax.cli.flags import InferFlags
from chemsbi_jax.cli.run import command_line
from chemsbi_jax.errors import OutputError
from chemsbi_jax.results import (
    ReportFigure,
    read_figures,
    report_numbers,
    write_report,
)
from helpers.report_pages import (
    CSS,
    MISFIT,
    SHARED,
    Page,
    made,
    png,
    three_figures,
    write,
)

HOSTILE = "<script>alert(1)</script> & \"a\" 'b' </style><img src=x onerror=y>"


# Page


def hostile():
    summary = made(left_out=[HOSTILE], model_fit=MISFIT | {"text": HOSTILE})
    summary |= {"warnings": [HOSTILE], "method": HOSTILE}
    summary["provenance"][HOSTILE] = HOSTILE
    summary["seconds"][HOSTILE] = 1.0
    summary["catalogue"] |= {"dropped": {HOSTILE: 2}, "notes": [HOSTILE]}
    summary["shared_errors"] = deepcopy(SHARED)
    summary["shared_errors"]["yields"][HOSTILE] = {HOSTILE: HOSTILE}
    return summary


def test_nothing_of_the_user_becomes_markup(tmp_path):
    figures = [ReportFigure(HOSTILE, HOSTILE, HOSTILE, png())]
    page = write(tmp_path / "report.html", hostile(), figures, HOSTILE)
    assert len(page.all("style")) == 1
    assert len(page.all("img")) == 1
    assert page.all("script") == page.all("iframe") == page.all("form") == []
    attributes = [a for tag, a in page.elements if tag != "#text"]
    assert not [key for a in attributes for key in a if key.startswith("on")]
    assert page.text.count(" ".join(HOSTILE.split())) > 8
    assert page.all("img")[0]["alt"] == HOSTILE


@pytest.mark.parametrize("summary", [made(), hostile()])
def test_structure_for_screen_readers(tmp_path, summary):
    page = write(tmp_path / "report.html", summary, three_figures())
    levels = [level for level, _ in page.headings]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert max(np.diff(levels)) == 1, "no level is left out"
    assert all(text.strip() for _, text in page.headings)
    assert page.all("html") == [{"lang": "en"}]
    for landmark in ("header", "nav", "main", "footer"):
        assert len(page.all(landmark)) == 1
    assert all(image["alt"] for image in page.all("img"))
    assert len(page.all("figcaption")) == len(page.all("figure")) == 3
    assert all(cell["scope"] in ("row", "col") for cell in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    attributes = [a for tag, a in page.elements if tag != "#text"]
    ids = [a["id"] for a in attributes if "id" in a]
    assert len(ids) == len(set(ids))
    labels = [a["aria-labelledby"] for a in attributes if "aria-labelledby" in a]
    links = [a["href"].removeprefix("#") for a in page.all("a")]
    assert labels
    assert len(links) > 5
    assert set(labels) | set(links) <= set(ids)


def test_the_page_needs_no_network(tmp_path):
    page = write(tmp_path / "report.html", made(), three_figures())
    attributes = [a for tag, a in page.elements if tag != "#text"]
    addresses = [a[key] for a in attributes for key in ("src", "href") if key in a]
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not {"srcset", "action", "poster", "background"} & set().union(*attributes)
    assert not re.search(r"url\(|@import|//", CSS.replace("/*", ""))
    assert "http:" not in page.source
    assert "https:" not in page.source
    policy = [m["content"] for m in page.all("meta") if "http-equiv" in m]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_the_numbers_are_those_of_the_summary(tmp_path):
    page = write(tmp_path / "report.html", made())
    assert "−2.0951 ± 0.0029" in page.text
    assert "−2.0999 to −2.0903" in page.text
    assert "alpha_imf = -2.0951 +- 0.0029; log10_n_ia = -2.5927 +- 0.0037" in page.text
    assert "correlation = 0.88" in page.text
    assert "2.55 SNe Ia per 1000 M☉" in page.text  # 1000 * 10**-2.5927
    assert "Good . The interval can be quoted, if yields, zero points" in page.text
    assert "1000 rows read, 1000 stars used." in page.text
    assert "sha256 1eba" in page.text
    assert "of which some run side by side" in page.text


def test_a_fit_that_was_not_tested_is_neither_passed_nor_failed(tmp_path):
    summary = made()
    summary["checks"]["model_fit"] |= {"flagged": False, "p_value": None}
    page = write(tmp_path / "report.html", summary)
    assert "Model fits the stars — not tested" in page.text


@pytest.mark.parametrize(
    ("n_used", "n_stars", "text"),
    [
        (1000, 1000, "1000 stars, method exact"),
        (1, 1, "1 star, method exact"),
        (1, 3, "1 star of 3 rows, method exact"),
        (0, 1, "0 stars of 1 row, method exact"),
    ],
)
def test_the_header_counts_stars_and_rows(tmp_path, n_used, n_stars, text):
    summary = made() | {"n_used": n_used, "n_stars": n_stars}
    assert text in write(tmp_path / "report.html", summary).text


def test_the_header_counts_given_stars_without_a_table(tmp_path):
    summary = made() | {"n_used": 1, "n_stars": 3, "catalogue": None}
    text = write(tmp_path / "report.html", summary).text
    assert "1 of 3 stars, method exact" in text


def test_shared_errors_come_first(tmp_path):
    page = write(tmp_path / "report.html", made() | {"shared_errors": SHARED})
    first, second = (page.text.index(t) for t in ("−2.115 ± 0.048", "−2.0951 ± 0.0029"))
    assert first < second
    assert "with shared errors (the interval to quote)" in page.text
    assert "alpha_imf = -2.115 +- 0.048" in page.text
    assert "si_sn2 −0.120 ± 0.040" in page.text
    assert "log10_sfe 0.20 ± 0.10 —" in page.text
    assert "yields 0.03 0.09" in page.text  # rounded: the error is 0.005


def test_the_page_names_the_sampler_of_the_second_interval(tmp_path):
    note = "The interval with shared errors is by NUTS (r-hat 1.01, ...)."
    summary = made() | {"shared_errors": SHARED, "shared_errors_note": note}
    assert note in write(tmp_path / "report.html", summary).text


def test_checks_of_the_second_interval_have_rows(tmp_path):
    fit = {"flagged": False, "p_value": 0.5, "mean_residual_dex": {"o_fe": -0.012}}
    checks = {"predictive_p": 0.02, "mode_distance": 1.2, "n_alarm": 256}
    second = SHARED | {"model_fit": fit, "checks": checks}
    summary = made(model_fit=fit | {"mean_residual_dex": {"o_fe": 0.031}})
    summary["shared_errors"] = second
    text = write(tmp_path / "report.html", summary).text
    for words in (
        "With shared errors: model fits the stars \u2713 yes p = 0.5",
        "Predictive check \u2717 no p = 0.02",
        "Distance of the mode \u2713 yes 1.2 widths",
        "The column with shared errors is the mean of 256 stars.",
        "o_fe +0.031 \u22120.012",
        "posterior_shared.ecsv",
    ):
        assert words in text
    assert "Predictive check" not in write(tmp_path / "one.html", made()).text


def test_no_interval_of_a_red_page_is_to_quote(tmp_path):
    flagged = SHARED | {"model_fit": MISFIT}
    summary = made(model_fit=MISFIT) | {"shared_errors": flagged}
    page = write(tmp_path / "report.html", summary)
    assert "Do not use . Neither interval is a measurement of this galaxy." in page.text
    assert "With shared errors: The model does not fit." in page.text
    assert "the interval to quote" not in page.text
    assert "To copy" not in page.text


def test_results_without_numbers_make_a_page(tmp_path):
    summary = made(prior_widths=None, halves=None, model_fit=None)
    nothing = dict.fromkeys(summary["alpha_imf"])
    summary |= {"alpha_imf": nothing, "correlation": None, "log10_n_ia": nothing}
    page = write(tmp_path / "report.html", summary)
    assert "To copy" not in page.text
    write_report(tmp_path / "report.html", {}, (), None, "")
    assert "Do not use" in Page(tmp_path / "report.html").text


def test_figures_beyond_two_megabytes_are_named(tmp_path):
    sizes = (280, 480, 480)  # of noise: 0.3, 0.9 and 0.9 MB as text
    figures = [
        ReportFigure(f"figure{i}", "Title.", "Alt.", png(n, n, seed=i))
        for i, n in enumerate(sizes)
    ]
    page = write(tmp_path / "report.html", made(), figures)
    assert len(page.all("img")) == 2
    assert "Too large for this page: see figure2.png." in page.text
    assert (tmp_path / "report.html").stat().st_size < 2_000_000


def test_a_figure_must_be_a_png(tmp_path):
    figure = ReportFigure("posterior", "Title.", "Alt.", b"GIF89a")
    with pytest.raises(ValueError, match="PNG file for posterior"):
        write(tmp_path / "report.html", made(), [figure])


def test_an_older_page_outlives_a_full_disk(tmp_path, full_disk):
    path = tmp_path / "report.html"
    path.write_text("older")
    with full_disk(), pytest.raises(OutputError, match=r"Cannot write report\.html"):
        write_report(path, made(), (), None, "")
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_figures_of_a_folder(tmp_path):
    for name in ("predictive", "posterior", "other"):
        (tmp_path / f"{name}.png").write_bytes(png())
    assert [f.name for f in read_figures(tmp_path)] == ["posterior", "predictive"]


@pytest.mark.parametrize(
    ("low", "high"), [(-2.1, -2.09), (0.0, 1.0), (-3.3, 40.0), (1e-7, 3e-7)]
)
def test_ticks_are_few_and_round(low, high):
    ticks, digits = report_numbers.ticks_between(low, high)
    assert 1 <= len(ticks) <= 5
    assert all(low < tick < high for tick in ticks)
    texts = [f"{tick:.{digits}f}" for tick in ticks]
    assert len(set(texts)) == len(texts)
    np.testing.assert_allclose(
        [float(t) for t in texts], ticks, atol=1e-3 * (high - low)
    )


@pytest.mark.parametrize(
    ("mean", "sd", "text"),
    [
        (-2.0951, 0.00294, "−2.0951 ± 0.0029"),
        (12.34, 3.1, "12.3 ± 3.1"),
        (1234.0, 120.0, "1234 ± 120"),
        (None, None, "— ± —"),
        (1.0, 0.0, "1.0000 ± 0.0000"),
    ],
)
def test_two_digits_of_the_sd(mean, sd, text):
    assert report_numbers.mean_and_sd({"mean": mean, "sd": sd}) == text


# Command


@pytest.mark.parametrize(
    "flags",
    [
        "stars.csv --out out",
        "'a b.csv' --out 'o ut' --seed 7 --truth -2.3 -2.89 --robust --no-quality",
        "stars.csv --out out --columns fe_h=FE_H,mg_h=MG_H --default-error 0.05",
    ],
)
def test_the_command_gives_the_same_flags(flags):
    config = tyro.cli(InferFlags, args=shlex.split(flags))
    program, *again = shlex.split(command_line("chemsbi", config, ("stars",)))
    assert program == "chemsbi"
    assert tyro.cli(InferFlags, args=again) == config
