"""report.html: verdict, escaping, structure, colours, and the page in a browser."""

import io
import re
import shlex
import shutil
import subprocess
import threading
from copy import deepcopy
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources

import matplotlib.image
import numpy as np
import pytest
import tyro
from astropy.table import Table

import chemsbi_jax as cs
from chemsbi_jax.cli.flags import InferFlags
from chemsbi_jax.cli.run import command_line
from chemsbi_jax.errors import OutputError
from chemsbi_jax.galaxy.amortised import flow
from chemsbi_jax.galaxy.checks import AGREE_SIGMA
from chemsbi_jax.results import (
    ReportFigure,
    assessment,
    read_figures,
    report_numbers,
    verdict,
    write_report,
)
from chemsbi_jax.results.remedies import FALLBACK, remedy
from chemsbi_jax.results.warnings import LARGE_CORRECTION, list_warnings

HOSTILE = "<script>alert(1)</script> & \"a\" 'b' </style><img src=x onerror=y>"
VOID = {"meta", "link", "img"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CSS = resources.files("chemsbi_jax.results").joinpath("report.css").read_text()


def parameter(mean, sd):
    offsets = {"q05": -1.64, "q16": -1.0, "q50": 0.0, "q84": 1.0, "q95": 1.64}
    return {"mean": mean, "sd": sd} | {k: mean + v * sd for k, v in offsets.items()}


def made(**checks):
    """A result without any fault, but for the checks that are given."""
    good = {
        "at_rest": True,
        "rounds": 1,
        "effective_draws_median": 48.0,
        "effective_draws_p01": 43.6,
        "left_out": [],
        "prior_widths": 1.2,
        "model_fit": {
            "flagged": False,
            "p_value": 0.33,
            "text": "The model explains the stars (p = 0.33).",
            "mean_residual_dex": {"fe_h": 0.002, "mg_fe": -0.001},
        },
        "methods_agree": {
            "other": "flow",
            "shift_sigma": [-0.1, 0.2],
            "width_ratio": [1.0, 0.99],
            "weak_stars": 0,
            "agree": True,
        },
        "halves": {"shift_sigma": [0.5, 0.5], "distance": 0.6, "stable": True},
        "is_prior": False,
    }
    return {
        "n_stars": 1000,
        "n_used": 1000,
        "method": "exact",
        "alpha_imf": parameter(-2.0951, 0.0029),
        "log10_n_ia": parameter(-2.5927, 0.0037),
        "correlation": 0.88,
        "checks": good | checks,
        "warnings": [],
        "seconds": {"read": 1.4, "inference": 12.9},
        "provenance": {"version": "0.1.0", "seed": 0, "stars": "sha256 1eba"},
        "catalogue": {"n_read": 1000, "n_used": 1000, "dropped": {}, "notes": []},
    }


SHARED = {
    "alpha_imf": parameter(-2.115, 0.048),
    "log10_n_ia": parameter(-2.58, 0.11),
    "correlation": 0.12,
    "budget": {"yields": {"alpha_imf": 0.031, "log10_n_ia": 0.09}, "zero_points": 0.02},
    "yields": {"si_sn2": {"mean": -0.12, "sd": 0.04, "q05": -0.2}},
    "population": {"log10_sfe": {"mean": {"mean": 0.2, "sd": 0.1}, "log_width": None}},
}


def png(width=90, height=60, seed=None):
    """A grey figure, or one of noise, which does not compress."""
    pixels = np.full((height, width, 3), 0.5)
    if seed is not None:
        pixels = np.random.default_rng(seed).random((height, width, 3))
    content = io.BytesIO()
    matplotlib.image.imsave(content, pixels, format="png")
    return content.getvalue()


class Page(HTMLParser):
    """Elements of a page with their attributes and texts, in order."""

    def __init__(self, path):
        super().__init__()
        self.open, self.elements, self.headings = [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append([int(tag[1]), ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "elements are nested"

    def handle_data(self, data):
        if any(re.fullmatch("h[1-6]", tag) for tag in self.open):
            self.headings[-1][1] += data
        if "style" not in self.open:
            self.elements.append(("#text", data))

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]

    @property
    def text(self):
        return " ".join(" ".join(self.all("#text")).split())


def write(path, summary, figures=(), command="python experiments/infer.py stars.csv"):
    write_report(path, summary, figures, summary["catalogue"], command)
    return Page(path)


def three_figures():
    return [
        ReportFigure("posterior", "Posterior.", "Ellipses.", png()),
        ReportFigure("convergence", "Convergence.", "Bands.", png(120, 60)),
        ReportFigure("predictive", "Predictive.", "Histograms.", png(150, 60)),
    ]


# Verdict


def test_a_result_without_fault_is_green():
    level, text, reason = verdict(made())
    assert level == "green"
    assert text == "The interval can be quoted."
    assert reason == (
        "The model explains the stars (p = 0.33), the methods exact and flow agree, "
        "and both halves of the table give the same result."
    )


MISFIT = {"flagged": True, "p_value": 1e-9, "text": "The model does not fit."}


@pytest.mark.parametrize(
    ("checks", "reason"),
    [
        ({"model_fit": MISFIT}, "The model does not fit."),
        ({"at_rest": False}, "The exact method did not converge."),
        ({"is_prior": True}, "No star is used: this is the prior, not a result."),
    ],
)
def test_red(checks, reason):
    assert verdict(made(**checks)).level == "red"
    assert verdict(made(**checks)).reason == reason


@pytest.mark.parametrize(
    ("checks", "reason"),
    [
        (
            {"methods_agree": {"agree": False, "other": "flow"}},
            "The methods exact and flow differ.",
        ),
        (
            {"halves": {"stable": False, "distance": 3.42}},
            "Even and odd rows of the table differ by 3.4 sigma.",
        ),
        ({"left_out": ["7"]}, "No parameters explain 1 star, left out."),
        ({"weak_stars": 4}, "4 stars with too few measurements did not count."),
        (
            {"subset": {"n_stars": 8192, "of": 10**5, "text": ""}},
            "The checks were made with 8192 of 100000 stars.",
        ),
        (
            {"prior_widths": 4.5},
            "The result lies 4.5 prior widths from the prior's mean.",
        ),
        ({"prior_widths": None}, "The result lies far from the prior's mean."),
        ({"no_exact": "..."}, "The exact method failed."),
        (
            {"network_error_sigma": [0.1, -2.1]},
            "The correction of the network's mean error is large.",
        ),
        (
            {"methods_differ_sigma_of_all": [2.1, 0.0]},
            "The methods differ by more than the interval's width.",
        ),
        ({"mass_at_edge": 0.01}, "The posterior reaches the edge of its grid."),
        (
            {"model_error_dex": {"c_fe": 0.1}},
            "A model error was added to the abundances.",
        ),
    ],
)
def test_amber(checks, reason):
    found = verdict(made(**checks))
    assert (found.level, found.reason) == ("amber", reason)


def test_several_doubts_make_one_sentence():
    found = verdict(made(left_out=["a", "b"], weak_stars=1, mass_at_edge=1.0))
    assert found.reason == (
        "No parameters explain 2 stars, left out, 1 star with too few measurements "
        "did not count, and the posterior reaches the edge of its grid."
    )


def test_dropped_rows_and_warnings_are_amber():
    dropped = made()
    dropped["catalogue"]["dropped"] = {"bad flag": 11, "no abundance": 1}
    assert verdict(dropped).level == "amber"
    assert verdict(dropped).reason == "12 of the 1000 rows of the table were not used."
    about_table = made() | {"warnings": ["C in giants"]}
    about_table["catalogue"]["notes"] = ["C in giants"]
    assert verdict(about_table).reason == "There is 1 warning about the table."
    others = made() | {"warnings": ["one", "two"]}
    assert verdict(others).reason == "There are 2 warnings."


def test_results_that_are_no_numbers_are_red():
    summary = made()
    summary["log10_n_ia"]["sd"] = None
    assert verdict(summary).level == "red"
    assert verdict({}).level == "red"


def test_checks_that_were_not_made_are_not_praised():
    summary = made(halves=None, methods_agree=None)
    assert verdict(summary).reason == "The model explains the stars (p = 0.33)."
    assert verdict(made() | {"checks": {}}).reason == "No check was made."


def test_shared_errors_are_the_interval_to_quote():
    summary = made() | {"shared_errors": SHARED}
    assert verdict(summary).text == "The interval with shared errors can be quoted."
    misfit = made(model_fit=MISFIT) | {"shared_errors": SHARED}
    assert verdict(misfit).level == "red"
    fits = SHARED | {"model_fit": {"flagged": False}}
    assert verdict(misfit | {"shared_errors": fits}).level == "amber"


def test_limits_are_those_of_the_checks():
    assert assessment.FAR == flow.FAR
    assert assessment.LARGE_NETWORK_ERROR == LARGE_CORRECTION
    assert assessment.METHODS_DIFFER == AGREE_SIGMA


def test_level_has_word_and_symbol():
    found = [verdict(made()), verdict(made(weak_stars=1)), verdict(made(is_prior=True))]
    assert len({v.word for v in found}) == len({v.symbol for v in found}) == 3


# Warnings


def every_warning(tmp_path):
    """All sentences that the package can write about a result."""
    number = {"mean": -2.3, "sd": 0.01}
    robust = {"alpha_imf": number, "log10_n_ia": number, "n_stars": 10}
    checks = made()["checks"] | {
        "no_exact": "The exact method failed; this is the result of the flow. Why.",
        "left_out": ["7"],
        "model_fit": MISFIT
        | {"text": "The model does not explain these stars (p = 1e-09): ..."},
        "robust": robust,
        "model_error_dex": {"c_fe": 0.1},
        "halves": {"stable": False, "distance": 3.4},
        "at_rest": False,
        "weak_stars": 3,
        "is_prior": True,
        "network_error_sigma": 3.0,
        "prior_widths": 5.0,
        "mass_at_edge": 1.0,
        "methods_differ_sigma_of_all": [3.0, 0.0],
        "subset": {"n_stars": 10, "of": 100},
        "exact_subset": robust,
    }
    checks["methods_agree"] = checks["methods_agree"] | {"agree": False}
    table = Table({"fe_h": [0.0], "e_fe_h": [0.1], "c_fe": [0.1], "logg": [1.0]})
    table["e_c_fe"] = 0.1
    table.write(tmp_path / "giants.csv", format="ascii.csv")
    return [
        *list_warnings(checks),
        *cs.read_catalog(tmp_path / "giants.csv").report.warnings,
    ]


def test_every_warning_has_its_own_remedy(tmp_path):
    found = every_warning(tmp_path)
    assert len(found) == 16
    remedies = [remedy(warning) for warning in found]
    assert FALLBACK not in remedies
    assert len(set(remedies)) == len(found)
    assert remedy("A new warning.") == FALLBACK


def test_warnings_stand_with_what_to_do(tmp_path):
    warning = "Even and odd rows of the table differ by 3.4 sigma: ..."
    page = write(tmp_path / "report.html", made() | {"warnings": [warning]})
    assert f"{warning} What to do: Check that all rows are stars" in page.text
    page = write(tmp_path / "report.html", made())
    assert "There are no warnings." in page.text


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
    assert "Good . The interval can be quoted." in page.text
    assert "1000 rows read, 1000 stars used." in page.text
    assert "sha256 1eba" in page.text
    assert "total 14.3" in page.text


def test_shared_errors_come_first(tmp_path):
    page = write(tmp_path / "report.html", made() | {"shared_errors": SHARED})
    first, second = (page.text.index(t) for t in ("−2.115 ± 0.048", "−2.0951 ± 0.0029"))
    assert first < second
    assert "with shared errors (the interval to quote)" in page.text
    assert "alpha_imf = -2.115 +- 0.048" in page.text
    assert "si_sn2 −0.120 ± 0.040" in page.text
    assert "log10_sfe 0.20 ± 0.10 —" in page.text
    assert "yields 0.031 0.09" in page.text


def test_results_without_numbers_make_a_page(tmp_path):
    summary = made(prior_widths=None, halves=None, model_fit=None)
    nothing = dict.fromkeys(summary["alpha_imf"])
    summary |= {"alpha_imf": nothing, "correlation": None, "log10_n_ia": nothing}
    page = write(tmp_path / "report.html", summary)
    assert "alpha_imf = nan +- nan" in page.text
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


# Colours


def palettes():
    """Name of the palette -> name of the colour -> hexadecimal colour."""
    light, dark = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[:2]
    colours = [dict(re.findall(r"--([\w-]+): (#\w{6})", p)) for p in (light, dark)]
    return {"light": colours[0], "dark": colours[0] | colours[1]}


def luminance(rgb):
    """Relative luminance, WCAG 2.2."""
    low = rgb / 12.92
    linear = np.where(rgb <= 0.04045, low, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def rgb(colour):
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def contrast(one, other):
    light, dark = sorted([luminance(one), luminance(other)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("palette", ["light", "dark"])
@pytest.mark.parametrize(
    ("front", "back", "least"),
    [
        *((text, back, 4.5) for text in ("text", "soft") for back in ("card", "page")),
        *((name, "card", 4.5) for name in ("link", "good", "bad")),
        *((name, f"{name}-back", 4.5) for name in ("good", "care", "bad")),
        *(("text", f"{name}-back", 4.5) for name in ("good", "care", "bad")),
        *((name, "card", 3.0) for name in ("main-bar", "other-bar")),  # no text
    ],
)
def test_contrast(palette, front, back, least):
    colours = palettes()[palette]
    assert contrast(rgb(colours[front]), rgb(colours[back])) >= least


@pytest.mark.parametrize("palette", ["light", "dark"])
def test_contrast_on_the_sky(palette):
    """Where its brightest cloud lies behind the text."""
    colours = palettes()[palette]
    sky = rgb(colours["sky"])
    clouds = re.findall(r"rgb\((\d+) (\d+) (\d+) / (\d+)%\), transparent", CSS)
    assert len(clouds) == 2
    for *cloud, share in clouds:
        share = float(share) / 100
        back = share * np.array(cloud, float) / 255 + (1 - share) * sky
        for name in ("sky-text", "sky-soft"):
            assert contrast(rgb(colours[name]), back) >= 4.5


# In a browser


@pytest.fixture
def browser(tmp_path):
    """Load a page from a server of this test in Chromium, which has no other network.

    All names in .test lead to the server; Chromium's own requests for the time and for
    updates lead nowhere.
    """
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    asked, content = [], {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers["Host"].split(":")[0] + self.path)
            known = self.path == "/report.html"
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(content["page"] if known else b"")

        def log_message(self, *args):
            pass

    def load(page, *options):
        asked.clear()
        content["page"] = page
        shot = tmp_path / "shot.png"
        shot.unlink(missing_ok=True)
        port = server.server_address[1]
        command = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--no-proxy-server",
            f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={shot}",
            f"--host-resolver-rules=MAP *.test 127.0.0.1:{port}, MAP * ~NOTFOUND",
            *options,
            f"http://report.test:{port}/report.html",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=240)
        return matplotlib.image.imread(shot)[..., :3], list(asked)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield load
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_in_chromium(browser, tmp_path):
    path = tmp_path / "report.html"
    write(path, made(left_out=["7"]), three_figures())
    page = path.read_bytes()
    light, asked = browser(page, "--window-size=1280,2000")
    assert asked == ["report.test/report.html"]
    assert light.shape[:2] == (2000, 1280)
    assert len(np.unique(light.reshape(-1, 3), axis=0)) > 100
    # the edge of the page, below the header
    assert np.ptp(light[600, :20], axis=0).max() == 0
    assert light[600, 10].mean() > 0.9
    dark, _ = browser(
        page, "--window-size=1280,2000", "--blink-settings=preferredColorScheme=0"
    )
    assert dark[600, 10].mean() < 0.15


@pytest.mark.slow
def test_requests_are_seen(browser, tmp_path):
    """The test above can fail, and the policy of the page holds them back."""
    path = tmp_path / "report.html"
    write(path, made())
    image = b'<img src="http://elsewhere.test/x.png"></body>'
    page = path.read_bytes().replace(b"</body>", image)
    assert browser(page)[1] == ["report.test/report.html"]
    policy = re.compile(rb"<meta http-equiv=[^>]*>")
    assert "elsewhere.test/x.png" in browser(policy.sub(b"", page))[1]
