"""experiments/yields.py: the list, a comparison with its figures, the spread."""

import json
from pathlib import Path

import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.errors import InputError
from chemsbi_jax.plots.yields import plot_ejecta, plot_net_yields, plot_tracks
from chemsbi_jax.simulator.production import all_mass, ejecta_ratios, new_mass
from chemsbi_jax.simulator.spread import FAMILIES, production, spread
from chemsbi_jax.yields import PARTS, YieldRecord
from helpers.paths import TOY, load_script
from helpers.vice import needs_vice


@pytest.fixture(scope="module")
def script():
    return load_script("yields")


def test_listing_gives_the_reason_of_missing_parts_once(script):
    here = YieldRecord(
        "nkt13", "sn2", "Nomoto+", "crimsons", True, "", (13.0, 40.0), (0.001, 0.02),
        ("C", "Fe", "H"),
    )  # fmt: skip
    away = [YieldRecord(n, "sn_ia", "", "VICE", False, "set it") for n in ("n1", "n3")]
    text = script.listing((here, *away))
    assert "13-40 Msun" in text
    assert "2 elements  Nomoto+ (crimsons)" in text
    assert text.endswith("not available: n1, n3: set it")


@pytest.mark.thorough
def test_comparison(script, tmp_path, capsys):
    flags = {"sets": f"{str(TOY)},nkt13+k10+w7", "out": tmp_path, "plots": tmp_path}
    metrics = script.main(script.Config(**flags))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [str(TOY), "nkt13+k10+w7", "max"]
    assert lines[1].split()[-1] == "-"  # no nickel in the toy
    toy, full = metrics["abundances"].values()
    assert len(toy) == 8
    assert len(full) == 15
    ours = cs.simulate(np.array(script.GALAXY), cs.load_yields(str(TOY)))
    np.testing.assert_allclose([*toy.values()], ours, atol=1e-5)
    saved = json.loads((tmp_path / "yields.metrics.json").read_text())
    assert saved["papers"]["k10"].startswith("Karakas 2010")
    for name in ("net", "ejecta", "tracks"):
        assert (tmp_path / f"yields_{name}.png").stat().st_size > 10_000


def test_comparison_refuses_an_unknown_set(script, tmp_path):
    with pytest.raises(InputError, match="Unknown yields 'tgn'"):
        script.main(script.Config(sets="tgn", out=tmp_path))
    with pytest.raises(InputError, match="mass fraction below 1; got 2.0"):
        script.main(script.Config(metallicity=2.0))


def test_new_mass_is_the_sum_over_the_imf():
    """Toy: the net yields sum to 0, so all that is returned is what was locked up."""
    yields = cs.load_yields(str(TOY))
    new = np.asarray(new_mass(yields.sn2, 0.004))
    assert new.sum() == pytest.approx(0.0, abs=1e-7)
    assert (np.delete(new, [2, 3]) > 0.0).all()  # all but H and He
    flat = np.asarray(new_mass(yields.sn2, 0.004, alpha_imf=-1.8))
    assert (np.delete(flat / new, [2, 3]) > 1.5).all()
    born = np.full(9, 1 / 9)
    everything = np.asarray(all_mass(yields.sn2, 0.004, born))
    # 8 to 100 Msun hold 22.58 % of the mass; the toy's stars eject 86 to 92 % of theirs
    assert 0.86 < everything.sum() / 0.2258 < 0.92


def test_ratios_of_the_ejecta():
    yields = cs.load_yields("nkt13+k10+w7")
    ratios = {c: ejecta_ratios(yields, c, 0.01) for c in ("sn2", "agb", "sn_ia")}
    assert ratios["sn2"]["O"] > 0.4
    assert ratios["sn_ia"]["O"] < -1.0
    assert ratios["agb"]["N"] > 0.5
    # what AGB stars do not touch comes back as it was born, but for 0.15 % of the iron
    assert ratios["agb"]["Ca"] == pytest.approx(0.0, abs=0.001)


FEW = {"sn2": (("nkt13",), ("lc18m_v0", "lc18m_v150")), "sn_ia": (("w7",), ("cdd2",))}


def test_spread_weighs_families():
    found = {(s.channel, s.element): s for s in spread(
        reference="nkt13+k10+w7", families=FEW)}  # fmt: skip
    silicon = found["sn_ia", "Si"]
    one, other = silicon.sets.values()
    assert silicon.sd == pytest.approx(abs(one - other) / np.sqrt(2.0))
    assert silicon.mean == pytest.approx((other - one) / 2.0)
    carbon = found["sn2", "C"]
    made = [production(n, "sn2", 0.01)["C"] for n in carbon.sets]
    np.testing.assert_allclose([*carbon.sets.values()], np.log10(made))
    x = np.array([*carbon.sets.values()])
    mean = 0.5 * x[0] + 0.25 * (x[1] + x[2])
    expected = np.sqrt(2.0 * np.average((x - mean) ** 2, weights=[0.5, 0.25, 0.25]))
    assert carbon.sd == pytest.approx(expected)


def shipped_spread():
    path = Path(cs.__file__).parent / "pretrained" / "yield_spread.json"
    return json.loads(path.read_text())


def test_shipped_spread_has_the_scales_of_all_channels():
    scales = shipped_spread()["scales"]
    assert set(scales["sn2"]) >= {"C", "N", "O", "Ne", "Mg", "Si", "Fe"}
    assert set(scales["agb"]) == {"C", "N"}
    assert set(scales["sn_ia"]) >= {"Si", "Fe"}
    values = [x for channel in scales.values() for x in channel.values()]
    assert 0.03 < min(values) < max(values) < 0.6  # dex


@needs_vice
@pytest.mark.tables
def test_shipped_spread_is_what_the_command_writes(script, data, tmp_path):
    path = tmp_path / "spread.json"
    script.main(script.Config(spread=path, quiet=True))
    written = json.loads(path.read_text())
    for channel, scales in shipped_spread()["scales"].items():
        assert written["scales"][channel] == pytest.approx(scales, abs=0.0011)
    names = {n for groups in FAMILIES.values() for group in groups for n in group}
    assert set(written["sources"]) == names & set(PARTS)


def test_figures_show_every_set_and_element():
    edges = np.array([8.0, 20.0, 100.0])
    curves = {n: [(edges, {"O": np.array([0.1, 0.2])})] for n in ("one", "two")}
    figure = plot_net_yields(curves, ["O"])
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["one", "two"]
    assert figure.axes[0].get_title() == "O"
    ratios = {"sn2": {"one": {"O": 0.5, "Mg": 0.4}, "two": {"O": 0.1}}}
    ticks = plot_ejecta(ratios, ["core-collapse"]).axes[0].get_xticklabels()
    assert [t.get_text() for t in ticks] == ["O", "Mg"]
    track = {"fe_h": np.linspace(-3.0, 0.0, 5), "o_fe": np.linspace(9.0, 0.0, 5)}
    ax = plot_tracks({"one": track}, ["o_fe"]).axes[0]
    assert ax.get_title() == "[O/Fe]"
    assert ax.get_ylim()[1] < 6.0  # what lies outside on the left does not count
