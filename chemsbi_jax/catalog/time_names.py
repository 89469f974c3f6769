"""Ages and birth times in the names of columns."""

import re

TIMES_OF_BIRTH = ("age", "birth_time", "log_age", "ln_age", "scale_factor",
                  "redshift")  # fmt: skip

_AGE = ("age", "ages", "tage", "agegyr", "lookback", "tlookback", "lookbacktime")
# one word with the method or the percentile: age50, StellarAge, logAge16, ageMLPP
_AGE_AND_REST = re.compile(
    r"(?P<age>(?:log|lg)?ages?)(?P<rest>\d+|kf|mode|med|median|mean|best|iso|gyro|"
    r"parsec|padova|mist|basti|seis\w*|astero\w*|ml(?:pp|ks|bs)?)(?P<percent>\d*)"
)
_REST_AND_AGE = re.compile(
    r"(?P<rest>stellar|star|iso|isochrone|gyro|median|mean|best|linear|mass|spec|chem|"
    r"seis\w*|astero\w*)(?P<age>age)"
)
_BIRTH = ("birth", "birthtime", "tbirth", "tform", "form", "formation",
          "formationtime", "formtime")  # fmt: skip
_PLACES = {"r", "rad", "radius", "rgal", "x", "y", "v", "vr", "vel", "velocity",
           "place", "position", "mass", "lz", "l", "phi", "distance",
           "kpc"}  # fmt: skip
"""Words beside "birth" that are no time: R_birth is a radius."""
TIME_UNITS = ("gyr", "myr", "yr", "yrs", "years")
"""Units in names of columns, as in Age(Myr)."""
_SCALE = ("stellarformationtime", "scalefactor", "aform", "abirth", "birthscale")


def split_age(word: str) -> list[str]:
    """The parts of a word with an age and its method or percentile; else the word.

    >>> split_age("agemlpp16")
    ['age', 'mlpp', '16']
    """
    match = _AGE_AND_REST.fullmatch(word) or _REST_AND_AGE.fullmatch(word)
    if match is None:
        return [word]
    rest = [match["rest"], match.groupdict().get("percent", "")]
    # percentiles that are neither the median nor 1 sigma are no values
    rest = ["num" if r.isdigit() and r not in ("16", "50", "84") else r for r in rest]
    return [match["age"], *filter(None, rest)]


def unit_in_name(column: str) -> str:
    """The unit of a time that its name has: Gyr, Myr, yr, or "".

    >>> unit_in_name("Age(Myr)")
    'Myr'
    """
    words = re.split(r"[^a-z]+", column.lower())
    names = {"gyr": "Gyr", "myr": "Myr", "yr": "yr", "yrs": "yr", "years": "yr"}
    return next((names[word] for word in words if word in names), "")


def ln_age(column: str) -> str:
    """What --columns takes for the natural logarithm of an age.

    >>> ln_age("lnAge")
    'age=10**(0.43429*lnAge)'
    """
    return f"age=10**(0.43429*{column})"


def find_time(words: list[str]) -> tuple[str, list[str]] | None:
    """The quantity of `TIMES_OF_BIRTH` in the words of a name, and the other words."""
    joined = "".join(words)
    if any(word in _SCALE for word in words) or "stellarformationtime" in joined:
        return "scale_factor", []
    if {"scale", "factor"} <= set(words):
        return "scale_factor", []
    if {"redshift", "z", "zform"} & set(words) and {*_BIRTH, "zform"} & set(words):
        return "redshift", []
    for word in words:
        rest = [w for w in words if w != word and w not in TIME_UNITS]
        if word in ("logage", "lgage", "lage", "logages", "log10age"):
            return "log_age", rest
        if word == "lnage" or (word in _AGE and "ln" in rest):
            return "ln_age", [w for w in rest if w != "ln"]
        if word in _AGE:
            if {"log", "lg", "log10", "logt"} & set(rest):
                return "log_age", [w for w in rest if w not in ("log", "lg", "log10")]
            return "age", [w for w in rest if w not in ("t", "time")]
        if word in _BIRTH and not _PLACES & set(rest):
            return "birth_time", [w for w in rest if w != "time"]
    return None
