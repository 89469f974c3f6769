"""What to do about each warning of a result."""

from chemsbi_jax.diagnostics.misfit import LESS_SCATTER

# (part of the warning, what to do); the first part that a warning contains decides.
# tests/results/test_remedies.py makes each warning and looks for its entry.
REMEDIES = (
    (
        LESS_SCATTER,
        "Repeat the run with smaller errors, if those of the table are too large, and "
        "compare.",
    ),
    (
        "With shared errors: The model",
        "Do not quote an interval. Repeat the run without the abundance that the "
        "warning names first (--without), or with larger errors.",
    ),
    (
        "the stars need a zero point or a scatter far from",
        "Check the errors and the zero points of the named abundances. Repeat the run "
        "without them (--without), and compare.",
    ),
    (
        "does not explain these stars",
        "Do not quote the interval without shared errors as a measurement of this "
        "galaxy. If there is an interval with shared errors, the verdict at the top "
        "states whether it can be used; else repeat the run without --fast. "
        "Look up the abundances with the largest values under “Residuals of the "
        "abundances”; check their zero points, their solar scale (--solar-from) and "
        "their errors. Then repeat the run without the worst one (--without) and "
        "compare.",
    ),
    (
        "With a model error for each abundance",
        "Do not quote this interval as a measurement either, as it does not include "
        "errors that all stars share. For all stars, repeat the run with --robust.",
    ),
    (
        "The exact method failed",
        "Check units, solar scale (--solar-from) and codes for missing values in the "
        "table. Then repeat the run with --method exact; its message names the cause.",
    ),
    (
        "of the stars, so the interval from the other stars",
        "Do not use the numbers. Compare the errors and the zero points of the columns "
        "with the description of the table, and name or convert the columns with "
        "--columns.",
    ),
    (
        "No parameters explain",
        "Look at these stars in the table: a wrong unit, a code for a missing value or "
        "a blend of two stars is likely. Correct or remove them and repeat the run.",
    ),
    (
        "The methods differ",
        "Where the model fits the stars, quote the result of the exact method and "
        "compare it with NUTS for some of the stars (chemsbi nuts --n-stars 100). "
        "Where it does not fit, resolve that warning first.",
    ),
    (
        "of the stars the methods differ by",
        "Add this difference to the interval as a further error, or repeat the run "
        "with --method exact, which takes longer.",
    ),
    (
        "Model errors were added",
        "Quote these errors with the result. An abundance with a large model error has "
        "little weight: check its zero point and its measurement errors.",
    ),
    (
        "Even and odd rows",
        "Check that all rows are stars of one galaxy, and that no row occurs twice. "
        "If the table joins several samples, infer each of them alone and compare.",
    ),
    (
        "NUTS did not converge",
        "Repeat the run with another --seed. Quote this interval of the network only "
        "if no other warning is about the interval with shared errors.",
    ),
    (
        "most probable population is far from",
        "Compare with the interval by the other sampler (--sampler network or nuts), "
        "and infer the populations of the table, such as thin and thick disc, alone.",
    ),
    (
        "The integral over the most precise stars",
        "Quote the interval of the network (--sampler network), or repeat the run with "
        "errors of the abundances that include the error of the model.",
    ),
    (
        "The chains of NUTS have",
        "Quote the interval if this error is small enough, or repeat the run with "
        "another --seed.",
    ),
    (
        "With the yields and the population held",
        "Compare with --sampler nuts.",
    ),
    (
        "With all blocks held",
        "Quote the first interval, which has the same model.",
    ),
    (
        "the stars are unlike those",
        "Quote no interval with shared errors. Leave out the abundances with the "
        "largest residuals (--without), or give larger errors, and repeat the run.",
    ),
    (
        "Bad values are a possible cause",
        "Remove flagged stars, and empty flagged values, in the table. Then repeat the "
        "run.",
    ),
    (
        "are not used: the network has no",
        "Repeat the run with --weights tng-any or --method exact, which read birth "
        "times.",
    ),
    (
        "not compared",
        "The interval was not checked by a second result. Give more abundances or "
        "smaller errors, or repeat the run with another --seed.",
    ),
    (
        "shared parameters are",
        "Do not rely on the interval unless that by NUTS (--sampler nuts) agrees. If "
        "they disagree, quote the wider one.",
    ),
    (
        "stars are unusual",
        "Leave out abundances with large residuals (--without) and compare.",
    ),
    (
        "did not converge",
        "Do not use the interval. Repeat the run with another --seed; if the warning "
        "stays, check units and solar scale, or use --method flow.",
    ),
    (
        "measurements have too little",
        "Nothing, if they are few. Otherwise repeat the run with --method exact, which "
        "uses stars with few or uncertain measurements.",
    ),
    (
        "No star is used",
        "Do not use the numbers. Give more abundances for each star, or smaller "
        "errors, and repeat the run.",
    ),
    (
        "network's mean error",
        "Repeat the run with --method exact and compare the two intervals.",
    ),
    (
        "prior widths from the prior's mean",
        "Check units and solar scale of the table. If they are right, this galaxy "
        "lies outside the range of the networks: do not quote the interval.",
    ),
    (
        "reaches the edge of its grid",
        "Check units and solar scale of the table, and repeat the run with --method "
        "exact.",
    ),
    (
        "The exact method for",
        "Compare this with the interval above. For all stars, repeat the run with "
        "--method exact, which takes longer.",
    ),
    (
        "dredge-up",
        "Repeat the run with --without c_fe,n_fe, or with dwarfs only, and compare.",
    ),
)
FALLBACK = "Compare with the checks below before you quote the interval."
OF_TABLE = (
    "Check this in the table. If the rows were not read as they should be, correct the "
    "table or use the flag that the warning names, and repeat the run."
)


def remedy(warning: str, *, is_of_table: bool = False) -> str:
    """What the reader of a result can do about a warning, in one or two sentences.

    Args:
        warning: sentence of `warnings` in summary.json.
        is_of_table: the warning is about how the star table was read.
    """
    for part, what_to_do in REMEDIES:
        if part in warning:
            return what_to_do
    return OF_TABLE if is_of_table else FALLBACK
