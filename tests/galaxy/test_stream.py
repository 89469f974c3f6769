"""Many stars block by block: what one call gives, however it is cut up."""

import json

import jax
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.galaxy import infer as galaxy_module
from chemsbi_jax.galaxy.amortised import first_grid, stream
from chemsbi_jax.galaxy.amortised import resume as progress
from chemsbi_jax.galaxy.amortised.stream import stream_galaxy
from helpers.exact_galaxy import exact_posterior, exact_stars

KEY = jax.random.key(1)
METHODS = ("gaussian", "flow")


def shift_and_width(one, two):
    """Difference in units of the width, and ratio of the widths less one."""
    sd, other = (np.sqrt(np.diag(g.covariance)) for g in (one, two))
    return np.abs(two.mean - one.mean).max() / sd.min(), np.abs(other / sd - 1.0).max()


@pytest.mark.parametrize("n", [1, 32, 333])
@pytest.mark.parametrize("method", METHODS)
def test_gives_what_infer_galaxy_gives(method, n, exact_npe):
    stars = exact_stars((-2.1, -2.6), n)
    whole = cs.infer_galaxy(KEY, exact_npe, stars, method)
    found = stream_galaxy(KEY, exact_npe, stars, method, block=64)
    shift, width = shift_and_width(whole, found)
    # the flow's grids differ: its moments have an error of 1e-3
    assert max(shift, width) < (1e-4 if method == "gaussian" else 3e-3)
    assert found.method == method
    assert found.draws.shape == (4000, 2)


@pytest.mark.parametrize("method", METHODS)
def test_the_block_does_not_matter(method, exact_npe):
    stars = exact_stars((-2.1, -2.6), 333)
    found = [
        stream_galaxy(KEY, exact_npe, stars, method, block=b) for b in (32, 96, 512)
    ]
    for other in found[1:]:
        # chunks of 32 stars are the same; their sums differ in float64
        np.testing.assert_allclose(other.mean, found[0].mean, rtol=1e-12)
        np.testing.assert_allclose(other.covariance, found[0].covariance, rtol=1e-9)


@pytest.mark.slow
def test_first_grid_from_a_part_of_a_sorted_table(exact_npe, monkeypatch):
    """The part is drawn from all rows, and the grid narrows down to all stars."""
    stars = exact_stars((-2.1, -2.6), 4000)
    order = np.argsort(stars.values[:, 0])
    stars = stars.take(order)
    monkeypatch.setattr(first_grid, "GUESS_STARS", 32)
    found = stream_galaxy(KEY, exact_npe, stars)
    mean, covariance = exact_posterior(stars)
    sd = np.sqrt(np.diag(covariance))
    assert (np.abs(found.mean - mean) / sd).max() < 0.005
    widths = np.sqrt(np.diag(found.covariance)) / sd
    np.testing.assert_allclose(widths, 1.0, atol=0.005)
    assert 3 <= found.checks["passes"] <= 6
    assert found.checks["mass_at_edge"] < 1e-6


def test_many_stars_go_through_the_stream(exact_npe, monkeypatch):
    stars = exact_stars((-2.1, -2.6), 50)
    assert "passes" not in cs.infer_galaxy(KEY, exact_npe, stars).checks
    monkeypatch.setattr(galaxy_module, "STREAM_FROM", 49)
    assert "passes" in cs.infer_galaxy(KEY, exact_npe, stars).checks


@pytest.mark.parametrize("method", METHODS)
def test_no_new_trace_for_another_number(method, exact_npe, caplog):
    many = exact_stars((-2.1, -2.6), 400)
    stream_galaxy(KEY, exact_npe, many, method, block=128)
    with jax.log_compiles(), caplog.at_level("WARNING", logger="jax"):
        for n in (201, 399):
            part = many.take(slice(None, n))
            # the first grid has the few lengths of infer_galaxy
            stream_galaxy(KEY, exact_npe, part, method, block=128)
        compiled = [r.message for r in caplog.records if "Compiling" in r.message]
    assert [c for c in compiled if "sums" in c] == []


def test_unknown_method(exact_npe):
    with pytest.raises(ValueError, match="Expected method flow or gaussian; got 'exa"):
        stream_galaxy(KEY, exact_npe, exact_stars((-2.1, -2.6), 3), "exact")


# --- interruptions


class Stop(Exception):
    """Stands for whatever ends a run."""


FIRST, SECOND_PASS = (pytest.param(i, marks=pytest.mark.thorough) for i in (1, 7))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stop_at", [FIRST, 4, SECOND_PASS])
def test_goes_on_to_the_same_bits(method, stop_at, exact_npe, tmp_path, monkeypatch):
    stars = exact_stars((-2.1, -2.6), 333)  # six blocks; 7 is in the second pass
    whole = stream_galaxy(KEY, exact_npe, stars, method, block=64)
    monkeypatch.setattr(progress, "SAVE_EVERY", 0.0)
    seen = []

    def counted(blocks, i, end=None, load=stream.Blocks.__call__):
        seen.append(i)
        if len(seen) > stop_at and end is None:
            raise Stop
        return load(blocks, i)

    call = stream.Blocks.__call__
    monkeypatch.setattr(stream.Blocks, "__call__", counted)
    path = tmp_path / "progress"

    def run():
        return stream_galaxy(KEY, exact_npe, stars, method, checkpoint=path, block=64)

    stops = method == "flow" or stop_at < 6
    if stops:
        with pytest.raises(Stop):
            run()
    else:
        run()
    monkeypatch.setattr(stream.Blocks, "__call__", call)
    n_blocks = count_blocks(monkeypatch)
    again = run()
    if method == "gaussian":
        assert len(n_blocks) == max(6 - stop_at, 0)
    np.testing.assert_array_equal(again.draws, whole.draws)
    np.testing.assert_array_equal(again.mean, whole.mean)
    np.testing.assert_array_equal(again.covariance, whole.covariance)
    n_blocks.clear()
    run()
    assert n_blocks == []  # complete


def count_blocks(monkeypatch) -> list:
    seen, call = [], stream.Blocks.__call__
    monkeypatch.setattr(
        stream.Blocks, "__call__", lambda b, i: seen.append(i) or call(b, i)
    )
    return seen


def test_other_settings_start_anew(exact_npe, tmp_path, monkeypatch, capsys):
    stars = exact_stars((-2.1, -2.6), 100)
    path = tmp_path / "progress"
    values = stars.values.copy()
    values[50, 3] += 1e-3
    other_npe = jax.tree.map(lambda x: x, exact_npe)
    root = other_npe.galaxy_flow.root
    object.__setattr__(other_npe.galaxy_flow, "root", root * 1.001)

    def run(key=KEY, npe=exact_npe, table=stars, method="gaussian"):
        stream_galaxy(key, npe, table, method, checkpoint=path, block=32, quiet=False)
        return capsys.readouterr().err

    assert "anew" not in run()
    assert "Resuming at block 4 of pass 1" in run()
    assert "starting over" in run(key=jax.random.key(2))
    assert "starting over" in run(npe=other_npe)
    assert "starting over" in run(table=stars._replace(values=values))
    assert "starting over" in run(method="flow")
    path.write_text("half a fi")
    assert "starting over" in run()
    path.write_text(json.dumps(["no", "state"]))
    assert "starting over" in run()
