"""The line of Python that repeats a result."""

import inspect
from pathlib import Path

import jax
import numpy as np

import chemsbi_jax as cs
from chemsbi_jax.galaxy.hierarchical import SharedErrors
from chemsbi_jax.inference.call import python_call
from chemsbi_jax.options import Limits

DEFAULTS = {k: p.default for k, p in inspect.signature(cs.infer).parameters.items()}


def spelled(**given):
    return python_call(cs.infer, DEFAULTS | given)


def test_defaults_are_left_out():
    assert spelled(stars="a b.csv", method="auto") == "chemsbi_jax.infer('a b.csv')"
    equal = spelled(stars=Path("a.csv"), limits=Limits(), options=cs.CatalogOptions())
    assert equal == "chemsbi_jax.infer('a.csv')"


def test_all_other_arguments_stand_in_the_line():
    line = spelled(
        stars="a.csv",
        method="exact",
        seed=3,
        options=cs.CatalogOptions(default_error=0.07, without="c_fe"),
        shared_errors=SharedErrors(hold=("yields",), scatter={"o_fe": 0.1}),
        limits=Limits(n_exact=50),
        quiet=True,  # does not change the result
    )
    settings = "scatter={'o_fe': 0.1}, hold=('yields',)"
    assert line == (
        "chemsbi_jax.infer('a.csv', method='exact', seed=3, "
        "limits=chemsbi_jax.options.Limits(n_exact=50), "
        f"shared_errors=chemsbi_jax.galaxy.hierarchical.SharedErrors({settings}), "
        "options=chemsbi_jax.options.CatalogOptions(without='c_fe', "
        "default_error=0.07))"
    )


def test_what_has_no_short_form_has_its_name():
    stars = cs.Stars.complete(np.zeros((1, 8)), 0.05)
    line = spelled(stars=stars, key=jax.random.key(0))
    assert line == "chemsbi_jax.infer(stars, key=key)"
