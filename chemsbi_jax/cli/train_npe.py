"""The command `train npe`: the posterior network of one star, weights and figures."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Key

import chemsbi_jax as cs
from chemsbi_jax import npe as networks
from chemsbi_jax import plots, priors
from chemsbi_jax.cli.flags import NpeFlags
from chemsbi_jax.cli.run import check_flags, training_flags, write_record
from chemsbi_jax.compute.train import FitConfig
from chemsbi_jax.emulator import Emulator, require_eight
from chemsbi_jax.errors import InputError
from chemsbi_jax.results.stopwatch import Stopwatch
from chemsbi_jax.storage.checkpoints import require_same_settings
from chemsbi_jax.storage.weights import load_spec, weights_folder
from chemsbi_jax.types import Forward

N_STORED = 100_000  # simulations of the reference recipe
ANY_EMBEDDING, ANY_EPOCHS = (192, 3), 240
FURTHER_EMBEDDING = (160, 3)  # with 15 abundances: the files stay below 1 MB


def main(config: NpeFlags) -> dict:
    """Train and measure; returns the metrics."""
    check_flags(config, n_test=2, n_epochs=1, steps_per_epoch=1, batch_size=1)
    _require_recipe(config)
    made_of = load_spec(weights_folder(config.emulator), "emulator")
    watch = Stopwatch(config.quiet)
    key_test, key_stored, key_train = jax.random.split(jax.random.key(config.seed), 3)
    prior = cs.paper_prior()
    emulator = emulator_for(config)
    forward = Partial(cs.emulate, emulator=emulator)
    stars, recipe = networks.FreshStars(forward, prior), networks.NpeConfig()
    if config.recipe == "reference":
        recipe = networks.REFERENCE
        stars = networks.StoredStars(*stars.draw(key_stored, N_STORED))
    recipe = with_length(with_stars(recipe, config, emulator.abundances), config)
    start = load_start(config, recipe)
    checkpoint = config.out / "checkpoint"
    require_same_settings(checkpoint, "flags", training_flags(config))
    with watch("train"):
        npe, result = networks.train_npe(
            key_train,
            stars,
            prior,
            recipe,
            start=start,
            galaxy_only=config.galaxy_only,
            checkpoint=checkpoint,
            quiet=config.quiet,
        )
    metrics = measure(key_test, npe, forward, recipe, config)
    metrics |= {"seconds": watch.seconds}
    spec = describe(config, made_of, metrics)
    networks.save_npe(config.out, npe, recipe, spec)
    plots.save_figure(
        plots.plot_losses(result.train_loss, result.held_out_loss),
        config.out / "npe_losses.png",
    )
    write_record(config.out, "train_npe", config, metrics)
    if not config.quiet:
        print(f"held-out log density {metrics['log_prob']:.4f} nats; {watch.seconds} s")
    return metrics


def _require_recipe(config: NpeFlags) -> None:
    if config.recipe == "reference" and config.stars != "fixed":
        raise InputError(
            "Expected --stars fixed with --recipe reference, whose network is for such "
            f"stars; got --stars {config.stars}."
        )


def emulator_for(config: NpeFlags) -> Emulator:
    """The emulator that makes the stars; a network for one error reads the eight."""
    emulator = cs.load_emulator(config.emulator)
    if config.stars == "fixed":
        require_eight(emulator, config.emulator)
    return emulator


def describe(config: NpeFlags, made_of: dict, metrics: dict) -> dict:
    """What the weights were trained on, for their JSON file.

    Args:
        config: flags.
        made_of: the same of the emulator that made the stars.
        metrics: of the trained network.
    """
    return {
        "emulator": config.emulator,
        **{k: v for k, v in made_of.items() if k in ("yields", "physics")},
        "recipe": config.recipe,
        "seed": config.seed,
        "galaxy_only": config.galaxy_only,
        "start": config.start
        and load_spec(weights_folder(config.start), "npe").get("sha256"),
        "metrics": metrics,
    }


def with_stars(
    recipe: networks.NpeConfig, config: NpeFlags, abundances: tuple[str, ...]
) -> networks.NpeConfig:
    """The recipe for the stars that the flags set, with these abundances."""
    if config.stars == "fixed":
        return recipe
    measure = networks.AnyErrors(config.stars, config.dated, tuple(abundances))
    size, fit = networks.SplineFlow(), recipe.fit
    if config.stars == "any":  # many more kinds of stars
        is_usual = tuple(abundances) == cs.ABUNDANCES
        size = networks.SplineFlow(
            embedding=ANY_EMBEDDING if is_usual else FURTHER_EMBEDDING
        )
        fit = FitConfig(n_epochs=ANY_EPOCHS, steps_per_epoch=500)
    return replace(recipe, measure=measure, flow=size, fit=fit)


def with_length(recipe: networks.NpeConfig, config: NpeFlags) -> networks.NpeConfig:
    """The recipe with the length that the flags set."""
    fit = FitConfig(
        n_epochs=config.n_epochs or recipe.fit.n_epochs,
        steps_per_epoch=config.steps_per_epoch or recipe.fit.steps_per_epoch,
        patience=recipe.fit.patience,
    )
    batch_size = config.batch_size or recipe.batch_size
    rate = config.learning_rate
    if rate is not None and not rate > 0.0:
        raise InputError(f"Expected --learning-rate above 0; got {rate}.")
    rate = recipe.learning_rate if rate is None else rate
    return replace(recipe, fit=fit, batch_size=batch_size, learning_rate=rate)


def load_start(config: NpeFlags, recipe: networks.NpeConfig) -> networks.Npe | None:
    """The network of --start, which must be of the recipe's kind."""
    if config.start is None:
        if config.galaxy_only:
            raise InputError(
                "--galaxy-only needs a network to start from: give --start."
            )
        return None
    start = networks.load_npe(config.start)
    blank = networks.new_npe(jax.random.key(0), start.prior, recipe)
    if shapes_of(start) != shapes_of(blank):
        raise InputError(
            f"--start {config.start}: expected a network of the recipe and the stars "
            "of the flags; it has other layers. Give the flags of its training."
        )
    return start


def shapes_of(npe: networks.Npe) -> list:
    """Path and shape of each array of a network's flows."""
    flows = (npe.galaxy_flow, npe.star_flow, npe.reader)
    return [(str(k), jnp.shape(x)) for k, x in jax.tree.leaves_with_path(flows)]


def measure(
    key: Key[Array, ""],
    npe: networks.Npe,
    forward: Forward,
    recipe: networks.NpeConfig,
    config: NpeFlags,
) -> dict:
    """Held-out log density of theta, and the single-star errors of the reference."""
    key_theta, key_noise, key_draws = jax.random.split(key, 3)
    theta = priors.sample(key_theta, npe.prior, config.n_test)
    inputs = np.asarray(recipe.measure.observe(key_noise, forward(theta), theta[:, -1]))
    good = np.isfinite(inputs).all(axis=1)
    theta, inputs = np.asarray(theta)[good], inputs[good]
    log_prob = np.asarray(
        eqx.filter_jit(networks.log_prob)(npe, jnp.asarray(theta), jnp.asarray(inputs))
    )
    few = slice(0, 1000)
    stars = npe.reader.stars(inputs[few])
    draws = np.asarray(cs.sample_stars(key_draws, npe, stars, 1000))
    ape = 100.0 * np.abs((draws.mean(axis=1) - theta[few]) / theta[few])
    plots.save_figure(plots.plot_single_star_ape(ape), config.out / "npe_ape.png")
    return {
        "log_prob": float(log_prob.mean()),
        "log_prob_error": float(log_prob.std() / len(log_prob) ** 0.5),
        "n_test": int(good.sum()),
        "median_ape_percent": dict(
            zip(cs.PARAMETERS, np.median(ape, axis=0).round(3).tolist(), strict=True)
        ),
    }
