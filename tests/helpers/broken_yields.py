"""Yield tables of a user, each with one fault, and the message that names it."""


def _without(*keys):
    def edit(table):
        for key in keys[:-1]:
            table = table[key]
        del table[keys[-1]]

    return edit


def _with(value, *keys):
    def edit(table):
        for key in keys[:-1]:
            table = table[key]
        table[keys[-1]] = value

    return edit


BROKEN = {
    "missing source": (_without("agb"), "agb: missing key; got the keys note, sn2"),
    "missing key": (_without("sn2", "masses"), "sn2.masses: missing key"),
    "missing element": (_without("agb", "net", "He"), "agb.net.He: missing key"),
    "missing mass": (_without("sn_ia", "mass"), "sn_ia.mass: missing key"),
    "not an object": (_with([1, 2], "sn_ia"), r"sn_ia: expected an object.*\[1, 2\]"),
    "wrong shape": (
        _with([[1.0, 2.0]], "sn2", "net", "C"),
        r"sn2.net.C: expected 3 x 3 finite numbers; got shape \(1, 2\)",
    ),
    "ragged": (
        _with([[1.0, 2.0], [1.0]], "agb", "ejected"),
        r"agb.ejected: expected 2 x 3 finite numbers; got \[\[1.0, 2.0\], \[1.0\]\]",
    ),
    "empty": (_with([], "sn2", "masses"), "sn2.masses: expected n finite numbers"),
    "text": (_with("heavy", "sn_ia", "mass"), "sn_ia.mass: expected one .*'heavy'"),
    "NaN": (_with(float("nan"), "sn2", "net", "O", 1, 2), "sn2.net.O: .* got nan"),
    "null": (_with(None, "agb", "net", "N", 0, 0), "agb.net.N: .* got nan"),
    "infinite": (_with(float("inf"), "sn_ia", "ejecta", "C"), "ejecta.C: .* got inf"),
    "unsorted metallicities": (
        _with([0.0, 0.02, 0.004], "sn2", "metallicities"),
        "sn2.metallicities: expected ascending .* got .*0.02, 0.004",
    ),
    "duplicate metallicities": (
        _with([0.02, 0.02], "agb", "metallicities"),
        "agb.metallicities: expected ascending numbers, each once",
    ),
    "logarithmic metallicities": (
        _with([-4.0, -1.7], "agb", "metallicities"),
        "agb.metallicities: expected mass fractions .* got -4.0",
    ),
    "percent metallicities": (
        _with([0.1, 2.0], "agb", "metallicities"),
        "agb.metallicities: expected mass fractions .* got 2.0",
    ),
    "negative mass": (
        _with([-10.0, 20.0, 40.0], "sn2", "masses"),
        "sn2.masses: expected positive masses .* got -10.0",
    ),
    "masses out of range": (
        _with([9.0, 10.0, 11.0], "agb", "masses"),
        "agb.masses: expected masses from 1 to 8 Msun; got 9 to 11",
    ),
    "unknown element": (
        _with([[0.0] * 3] * 3, "sn2", "net", "Xx"),
        "sn2.net: expected the elements C, Fe, H.* got 'Xx'",
    ),
    "more than the star": (
        _with(41.0, "sn2", "ejected", 1, 2),
        "sn2.ejected: expected 0 to 40.0 Msun .* got 41.0",
    ),
    "negative ejected mass": (
        _with(-1.0, "agb", "ejected", 0, 0),
        "agb.ejected: .* -1.0",
    ),
    "more than ejected": (
        _with(9.0, "sn2", "net", "Si", 0, 0),
        "sn2.net.Si: expected at most the 8.6 Msun ejected; got 9.0",
    ),
    "negative SN Ia": (_with(-0.1, "sn_ia", "ejecta", "O"), "sn_ia.ejecta: .* -0.1"),
    "light SN Ia": (_with(0.9, "sn_ia", "mass"), "sn_ia.mass: .*1.374 .* got 0.9"),
}


UNREADABLE = {
    "not JSON": (b"C = 0.1, O = 0.2", "expected a JSON file"),
    "binary": (b"\x89HDF\r\n\xff", "expected a JSON file"),
    "not an object": (b"[1, 2]", "the file: expected an object"),
}
