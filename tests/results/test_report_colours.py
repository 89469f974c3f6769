"""Contrast of the colours of report.html."""

import re

import numpy as np
import pytest

from helpers.report_pages import CSS

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
