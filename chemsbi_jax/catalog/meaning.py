"""Meaning of a column's name: the quantity, its role and its qualifiers."""

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from chemsbi_jax.catalog.time_names import TIMES_OF_BIRTH, find_time, split_age
from chemsbi_jax.constants import ALL_ABUNDANCES, FURTHER_ELEMENTS

ELEMENTS_READ = tuple(name.split("_")[0] for name in ALL_ABUNDANCES)
FURTHER = tuple(e.lower() for e in FURTHER_ELEMENTS)
"""Elements that are only read for yield sets that have them."""
EIGHT = tuple(e for e in ELEMENTS_READ if e not in FURTHER)  # S/N is no [S/N]
VALUE, ERROR, LOWER, UPPER = "value", "error", "lower", "upper"
LIMIT, FLAG, COUNT = "limit", "flag", "count"
ABSOLUTE, ALPHA, METAL = "a", "alpha", "m"

_ERRORS = ("e", "err", "error", "errors", "sigma", "sig", "unc", "uncert",
           "uncertainty", "std", "sd", "var", "variance", "ivar", "invvar", "percent",
           "pct", "perc", "percentage", "stderr", "rms")  # fmt: skip
_LOWER = ("lower", "low", "lo", "minus", "neg", "p16", "q16", "16", "em", "16th",
          "lerr", "errl", "loerr", "errlo", "errlow", "lowerr", "lowererr", "errlower",
          "errm", "errminus", "down")  # fmt: skip
_UPPER = ("upper", "up", "hi", "high", "plus", "pos", "p84", "q84", "84", "ep", "84th",
          "uerr", "erru", "hierr", "errhi", "uperr", "errup", "uppererr", "errupper",
          "errp", "errplus")  # fmt: skip
_LIMIT = ("limit", "lim", "ul", "uplim", "upperlimit", "upperlim", "islim", "ulim")
_DETECTED = ("det", "detected", "detection", "detections")
_FLAG = ("flag", "flags", "flg", "qual", "quality", "warn", "warning", "warnings",
         "bad", "good", "mask", "bitmask", "qflag", "ok", "qc", "reliable",
         "reliability", "rejected", "reject", "outlier", "censored", "censor",
         "nondetection", *_DETECTED)  # fmt: skip
_KINDS = ("type", "kind", "code", "class")  # of a value: a limit or not
_JUDGEMENTS = ("use", "used", "usable", "selected", "member", "membership", "binary",
               "sb1", "sb2", "blend", "blended")  # fmt: skip
_COUNT = ("nl", "nlines", "nline", "nlin", "num", "nb", "count", "counts", "lines",
          "nobs", "nmeas", "chisq", "chi2", "rchi2")  # fmt: skip
_ABSOLUTE = ("a", "abs", "abund", "abundance", "eps", "logeps", "loge", "epsilon",
             "logepsilon", "logn", "loga", "logx")  # fmt: skip
_METAL = ("metallicity", "met", "feh", "mh")
_IONS = ("i", "ii", "1", "2", "iii")
# two letters first: "ni" is nickel and not N I, "si" silicon and not S I
_X = "|".join(sorted(ELEMENTS_READ, key=lambda x: (-len(x), x)))
# mean other things as well: molecules, star formation efficiency, camera
_JOINED_OUT = ("nh", "oh", "ch", "nfe", "cm", "om", "nm", "sh", "sm", "sfe", "cah",
               "alh", "mnh", "nih", "nah", "tih", "cam", "nam", "alm",
               "tim")  # fmt: skip
# two columns that differ in these hold one abundance, measured in two ways
_COMPETING = re.compile(
    r"n?lte|(^|_)(1d|3d|raw|cal|calib|calibrated|uncal|uncalibrated|corr|corrected|"
    r"uncorr|i|ii|\d|x|y|old|new|orig|adopted|final|mean|median|avg|weighted|spec|"
    r"phot)($|_)"
)


class Meaning(NamedTuple):
    """Meaning of a column's name."""

    quantity: str  # mg_fe, mg_h, mg_m, m_h, alpha_fe, a_mg (absolute), age, ...
    role: str  # one of VALUE, ERROR, LOWER, UPPER, LIMIT, FLAG, COUNT
    qualifier: str  # the rest of the name, words joined by "_"

    @property
    def competes(self) -> bool:
        """Whether the rest names one of several versions of a quantity."""
        return bool(_COMPETING.search(self.qualifier))


def meaning_of(column: str) -> Meaning | None:
    """The meaning of a column's name; None if it is no abundance or time.

    >>> meaning_of("e_[Fe I/H]")
    Meaning(quantity='fe_h', role='error', qualifier='i')
    >>> meaning_of("N(Fe)")
    Meaning(quantity='a_fe', role='count', qualifier='')
    """
    lower = column.strip().lower()
    counted = re.fullmatch(
        r"(?:n|nl|nlines|num|#)[ _]?\(([a-z]{1,2})(?: ?i{1,2})?\)", lower
    )
    if counted and counted[1] in ELEMENTS_READ:
        return Meaning(f"a_{counted[1]}", COUNT, "")
    words = _words(lower)
    role, words = _take_role(words)
    found = find_time(words) or _find_ratio(words) or _find_absolute(words, lower)
    if found is None:
        return None
    quantity, rest = found
    if role == VALUE and rest[:1] in (["n"], ["o"], ["nl"]):  # VizieR: how many
        role, rest = COUNT, rest[1:]
    return Meaning(quantity, role, "_".join(rest))


def is_abundance(column: str) -> bool:
    """Whether a name is that of the value of an abundance that every model has."""
    meaning = meaning_of(column)
    if not meaning or meaning.role != VALUE or meaning.quantity in TIMES_OF_BIRTH:
        return False
    return element_of(meaning.quantity) not in FURTHER


def is_further(column: str, abundances: Sequence[str]) -> bool:
    """Whether a column is about an element of `FURTHER` that is not among these."""
    meaning = meaning_of(column)
    if meaning is None:
        return False
    element = element_of(meaning.quantity)
    return element in FURTHER and f"{element}_fe" not in abundances


def joined_ambiguous(columns: Collection[str]) -> dict[str, str]:
    """Columns as OH and NFe, which may be [O/H] or not, and what they may be.

    Only of a table with such joined names of other abundances.

    >>> joined_ambiguous(["FeH", "OH"])
    {'OH': 'o_h'}
    """
    words = {column: column.strip().lower() for column in columns}
    if not any(_joined(word) for word in words.values()):
        return {}
    over = {"nh": "n_h", "oh": "o_h", "ch": "c_h", "nfe": "n_fe"}
    return {c: over[word] for c, word in words.items() if word in over}


def other_ratio(column: str) -> tuple[str, str] | None:
    """Elements of a ratio that is neither to Fe nor to H: [O/Mg], C_N, [Fe/O].

    >>> other_ratio("[O/Mg]")
    ('o', 'mg')
    """
    words = _words(column.strip().lower())
    if len(words) != 2 or not set(words) <= set(EIGHT) or words[1] == "fe":
        return None
    is_count = words[0] == "n" and "[" not in column  # N_C: numbers of lines
    return None if is_count or words[0] == words[1] else (words[0], words[1])


def is_flag(column: str) -> bool:
    """Whether a column is a quality flag of the star or of one of its values."""
    lower = column.strip().lower()
    words = _words(lower)
    known = {*_FLAG, *_LIMIT, *_JUDGEMENTS, "snr", "sn", "ruwe"}
    if len(words) > 1 and "is" not in words:  # n_detections, det_id
        known -= {*_DETECTED}
    attached = re.search(r"(flags?|flg)(_|$)|^(flags?|q|l)_|^snr", lower)
    return bool(known & set(words)) or bool(attached)


def element_of(quantity: str) -> str:
    """The element of [X/Fe], [X/H], [X/M] or A(X)."""
    first, _, second = quantity.partition("_")
    return second if first == ABSOLUTE else first


def _words(lower: str) -> list[str]:
    lower = re.sub(r"σ|±|\+/-", " sigma ", lower)
    lower = re.sub(r"ε|ϵ", " eps ", lower).replace("%", " percent ")
    # A(Fe), and A_Fe_ as VizieR writes it, is no [alpha/Fe]
    text = re.sub(rf"(^|_)a ?[(_]({_X})[)_]$", r"\1abs_\2", lower)
    words = [word for word in re.split(r"[^a-z0-9]+", text) if word]
    words = [part for word in words for part in split_age(word)]
    if words:  # an error's letter or word that is not set apart: "efe_h", "errmg_fe"
        match = re.fullmatch(r"(err|sigma|sig|d|e)([a-z]{1,5})", words[0])
        if (
            match
            and _is_start(match[2], words[1:])
            and not _is_start(words[0], words[1:])
        ):
            words[:1] = ["e", match[2]]
    return words


def _is_start(word: str, rest: list[str]) -> bool:
    """Whether an abundance begins here."""
    joined = _joined(word) is not None
    return joined or (word in ELEMENTS_READ and rest[:1] in (["fe"], ["h"]))


def _take_role(words: list[str]) -> tuple[str, list[str]]:
    """The role, and the words without those of the role."""
    inner = set(words)
    has_limit = bool(inner & set(_LIMIT)) or words[:1] == ["l"]
    if has_limit or {"upper", "combined"} <= inner or {"upper", "limit"} <= inner:
        drop = {*_LIMIT, "upper", "combined", "lower"}
        kept = words[1:] if words[:1] == ["l"] else words
        return LIMIT, [word for word in kept if word not in {*drop, *_FLAG}]
    if inner & {*_FLAG, *_KINDS} or words[:1] in (["q"], ["f"], ["u"]):
        kept = words[1:] if words[:1] in (["q"], ["f"], ["u"]) else words
        return FLAG, [word for word in kept if word not in (*_FLAG, *_KINDS)]
    if inner & set(_COUNT):
        return COUNT, [word for word in words if word not in _COUNT]
    errors = inner & set(_ERRORS)
    if "log" in inner and words[:1] != ["e"]:  # log e(Fe)
        errors -= {"e"}
    is_error = bool(errors)
    low, high = inner & set(_LOWER), inner & set(_UPPER)
    drop = low | high | errors
    kept = [word for word in words if word not in drop]
    if low or high:
        return (LOWER if low else UPPER), kept
    return (ERROR if is_error else VALUE), kept


def _find_ratio(words: list[str]) -> tuple[str, list[str]] | None:
    """[X/Fe], [X/H], [X/M], [M/H] or [alpha/Fe] in a name."""
    for i, word in enumerate(words):
        joined = _joined(word)
        if joined is not None:
            return joined[0], [*words[:i], *joined[1], *words[i + 1 :]]
        over = _over(word)
        if over is None:
            continue
        element, ion = over
        after = words[i + 1 :]
        if (
            after[:1]
            and after[0] in _IONS
            and after[1:2]
            and after[1] in ("h", "fe", "m")
        ):
            ion, after = after[0], after[1:]
        if after[:1] == ["over"]:
            after = after[1:]
        if after[:1] == [element] or after[:1] not in (["fe"], ["h"], ["m"]):
            continue
        if after[:2] == ["fe", "h"]:  # o_[Fe/H] is a number of spectra
            continue
        kept = [*words[:i], *([ion] if ion else []), *after[1:]]
        return f"{element}_{after[0]}", kept
    if {"metallicity", "met"} & set(words):
        return "m_h", [word for word in words if word not in _METAL]
    return None


def _over(word: str) -> tuple[str, str] | None:
    """Element and ion of "mg", "fei", "fe2", "alpha", "m"."""
    if word in ("alpha", "alphas"):
        return ALPHA, ""
    if word == "a":
        return ALPHA, ""
    if word == METAL:
        return METAL, ""
    match = re.fullmatch(rf"({_X})(i{{0,2}}|1|2)", word)
    return (match[1], match[2]) if match else None


def _joined(word: str) -> tuple[str, list[str]] | None:
    """The ratio of a word such as "mgfe", "feh", "alphafe", "fe1h" or "feoverh"."""
    if word in _JOINED_OUT:
        return None
    match = re.fullmatch(rf"({_X}|alpha|a|m)(i{{0,2}}|1|2)(?:over)?(fe|h|m)", word)
    if match is None or match[1] == match[3]:
        return None
    element = ALPHA if match[1] == "a" else match[1]
    if (element, match[3]) in ((ALPHA, "m"), (ALPHA, "h"), ("m", "fe")) and len(
        word
    ) < 3:
        return None
    return f"{element}_{match[3]}", [match[2]] if match[2] else []


def _find_absolute(words: list[str], lower: str) -> tuple[str, list[str]] | None:
    """A(X), log eps(X), and Gaia-ESO's MG1, FE2."""
    absolute_words = set(_ABSOLUTE) & set(words)
    if {"log", "e"} <= set(words) or "log" in words[:1]:
        absolute_words |= {"log"}
    rest = [w for w in words if w not in (*_ABSOLUTE, "log", "e", "x")]
    for i, word in enumerate(rest):
        over = _over(word)
        if over is None or over[0] in (ALPHA, METAL):
            glued = re.fullmatch(rf"(?:a|loga|logeps|eps)({_X})", word)
            if glued and (len(glued[0]) > 2 or "(" in lower):
                return f"a_{glued[1]}", [*rest[:i], *rest[i + 1 :]]
            continue
        others = [*rest[:i], *rest[i + 1 :]]
        if absolute_words:
            return f"a_{over[0]}", [over[1], *others] if over[1] else others
        if over[1] in ("1", "2") and not others:
            return f"a_{over[0]}", [over[1]]
    return None
