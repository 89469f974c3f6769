"""Summaries without a fault, figures, and pages that are parsed."""

import io
import re
from html.parser import HTMLParser
from importlib import resources

import matplotlib.image
import numpy as np

from chemsbi_jax.results import (
    ReportFigure,
    write_report,
)

VOID = {"meta", "link", "img"}
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


MISFIT = {"flagged": True, "p_value": 1e-9, "text": "The model does not fit."}
