"""Public data files by name: where they come from, their checksums, how to get them.

A file is looked for in the folder `CHEMSBI_DATA` first and in the download cache
next. Only then is the network used, and only for the requested file.
"""

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import pooch

from chemsbi_jax.errors import DatasetError, MirrorOnlyError

MIRROR_FOLDER = "CHEMSBI_DATA"
"""Environment variable: a folder that has the files under their registry names."""

MIRROR_URL = "CHEMSBI_DATA_URL"
"""Environment variable: a web address that serves such a folder."""

_RAW = "https://raw.githubusercontent.com"
_CHEMPY = f"{_RAW}/oliverphilcox/ChempyMulti/1ab0d0c56a03c4f4b710ee8f0142bcccc7e84e22"
_GUENES = (
    f"{_RAW}/bGuenes/sbi_chemical_abundances/968b69c2a18f3d061332d3ad5b58595d191790c7"
)
_YIELDS = f"{_CHEMPY}/Chempy/input/yields"


class DataFile(NamedTuple):
    """One file of the registry."""

    sha256: str
    url: str | None = None  # public address; None: a mirror is the only source
    made_from: str = ""  # what a file without an address was made from
    head: int | None = None  # the file is this many first lines of the public one
    head_of: str = ""  # sha256 of the whole public file


FILES = {
    "yields/tng/AGB.hdf5": DataFile(
        "1c3394d8ff7511c696f360f8961202df7b767a2029ba82dd245c3d0250f60664",
        f"{_YIELDS}/TNG/AGB.hdf5",
    ),
    "yields/tng/SNII.hdf5": DataFile(
        "8497085be168f9715f263933f4e80246458014708fbb256c2d27cb041f50d062",
        f"{_YIELDS}/TNG/SNII.hdf5",
    ),
    "yields/tng/SNIa.hdf5": DataFile(
        "8779146fdb582a0459eac5cba7727cbf59e387ef7c2c38e536e56566e6cad129",
        f"{_YIELDS}/TNG/SNIa.hdf5",
    ),
    "yields/alternative/karakas2016/surf_z001.dat": DataFile(
        "c9f8c3840d51ec6284ed4bb770dc4ba65b38c4fbdfe06ca237450f00f91aba65",
        f"{_YIELDS}/Karakas2016/surf_z001.dat",
    ),
    "yields/alternative/karakas2016/surf_z03_first90lines.dat": DataFile(
        "f13f0b15a8f0ef38b1586c39836dcb578e88c19864edae896052ef697ce7d8d7",
        f"{_YIELDS}/Karakas2016/surf_z03.dat",
        head=90,
        head_of="c2818f4f99d79e9f35879c4a8cf09419b52835a3b039c65f7eb5263ca3be0d46",
    ),
    "yields/alternative/karakas2016/yield_z001.dat": DataFile(
        "b156bc0291fa5c5095fe7d0a9ef46deea8fe7eb07aadc917e89e2123edf4b579",
        f"{_YIELDS}/Karakas2016/yield_z001.dat",
    ),
    "yields/alternative/karakas2016/yield_z007.dat": DataFile(
        "df03f1f7046fa3d7a0bf6092e02274becff21097fb16ee31e0e0644fe4826c2e",
        f"{_YIELDS}/Karakas2016/yield_z007.dat",
    ),
    "yields/alternative/karakas2016/yield_z014.dat": DataFile(
        "b1d7aea982dd1b2a65a9e56bdeaef5b8d3401ed2b33c8d7b65028ad38a6be290",
        f"{_YIELDS}/Karakas2016/yield_z014.dat",
    ),
    "yields/alternative/karakas2016/yield_z03.dat": DataFile(
        "9fe9a5725679542ef54d59a628a952396ef862c002e77598af4a33227b66009b",
        f"{_YIELDS}/Karakas2016/yield_z03.dat",
    ),
    "yields/alternative/nomoto2013/nomoto_net_met_ind_0.npy": DataFile(
        "12d4e84bff92c7d3fd110b7f44c423b943cf25f5340c0cf4d96a53fe5f7448e7",
        f"{_YIELDS}/Nomoto2013/nomoto_net_met_ind_0.npy",
    ),
    "yields/alternative/nomoto2013/nomoto_net_met_ind_1.npy": DataFile(
        "5cd93b053fe8e9b524666c83b26d5e057d0f60ebed6608aeac725a4c735d22f1",
        f"{_YIELDS}/Nomoto2013/nomoto_net_met_ind_1.npy",
    ),
    "yields/alternative/nomoto2013/nomoto_net_met_ind_2.npy": DataFile(
        "51540f03e629a758e45b33ca292de9a79f5879762739cc5d599aa710652421ba",
        f"{_YIELDS}/Nomoto2013/nomoto_net_met_ind_2.npy",
    ),
    "yields/alternative/nomoto2013/nomoto_net_met_ind_3.npy": DataFile(
        "56be1ae88f7a3e72381861b2eebf4e3d2f9c87c020e71e99dbf6b53f6407382f",
        f"{_YIELDS}/Nomoto2013/nomoto_net_met_ind_3.npy",
    ),
    "yields/alternative/nomoto2013/nomoto_net_met_ind_4.npy": DataFile(
        "204e93a56d6270c4e47472d4e726e443d74a9bd5e7915a63ccc0905bf4d9f127",
        f"{_YIELDS}/Nomoto2013/nomoto_net_met_ind_4.npy",
    ),
    "yields/alternative/thielemann2003/0.02.txt": DataFile(
        "1dbd7fbf89c9530d8732bfb7c59f62a93f482dcfe50001f96697ca61bc599ac2",
        f"{_YIELDS}/Thielemann2003/0.02.txt",
    ),
    "yields/alternative/derived_tables.npz": DataFile(
        "d70f286f1291708bd7c3d40ddce1940477b92b5e21ede00d42dcbd5f6b81ebf9",
        made_from="the other files of yields/alternative",
    ),
    "stars/illustris_tng.ecsv": DataFile(
        "143f9a141b6085745564b5cd57e075ce13e2b854bdd498cece7db28491d6bbdf",
        made_from="stars/originals/Mock_Data_TNG.npz",
    ),
    "stars/chempy_tng_2019.ecsv": DataFile(
        "d6cdd66778ed4b190621fc489c9dc282184e55a72aebdd1c5b84cba09c52dc07",
        made_from="stars/originals/Mock_Data_Chempy+TNG.npz",
    ),
    "stars/chempy_alternative_2019.ecsv": DataFile(
        "bc36addc40190c1bd47a84ea6a7b4a6e0ca2d8c0c3d92d3c25e1159162e7b427",
        made_from="stars/originals/Mock_Data_Chempy+Alternative.npz",
    ),
    "stars/chempy_alternative.ecsv": DataFile(
        "bae0bb954927e76b0d3de5283432ab9f6bdccc6b86d013ffd6806b40098d931d",
        made_from="stars/originals/chempy_alternative_yields.npz",
    ),
    "stars/chempy_tng_200.ecsv": DataFile(
        "664f98bebac3bf4465b1a5f996cd0847875ef6ed5a28f7ce10242bfddb01a04a",
        made_from="stars/originals/mock_abundances.npy",
    ),
    "stars/real/bensby2014.csv": DataFile(
        "b5dbadd24d8223b870dcd9da97dfd7ff3acdd5d2da5cd014413568fc5111328a",
        made_from="the table of Bensby+2014 in the package galcem",
    ),
    "stars/real/reddy2003.csv": DataFile(
        "a9498c386c7747188fe5576f4eec86dd0ecf09de3bdab94e30957e750c9a1a2c",
        made_from="the table of Reddy+2003 in the package galcem",
    ),
    "stars/originals/Mock_Data_TNG.npz": DataFile(
        "eb3cfa131c213dbc448b1249c62d7611d724d613501924e6f642f45646ee71f6",
        f"{_CHEMPY}/tutorial_data/Mock_Data_TNG.npz",
    ),
    "stars/originals/Mock_Data_Chempy+TNG.npz": DataFile(
        "99f93771391529390a71f3ddba8e57b9749e759c164af21012bc27481779c246",
        f"{_CHEMPY}/tutorial_data/Mock_Data_Chempy+TNG.npz",
    ),
    "stars/originals/Mock_Data_Chempy+Alternative.npz": DataFile(
        "67a11aef50acae354cf665462e9a4a7b8ad4e18a4a78e3ee1462ae3524795ad2",
        f"{_CHEMPY}/tutorial_data/Mock_Data_Chempy+Alternative.npz",
    ),
    "stars/originals/chempy_alternative_yields.npz": DataFile(
        "f1723b02663416037a713b8000e7a4522ae608842af469842ac41d36a3202b5c",
        f"{_GUENES}/data/chempy_data/chempy_alternative_yields.npz",
    ),
    "stars/originals/mock_abundances.npy": DataFile(
        "e60ca9b473a2d7b14b1938e5c07d4b5dde423b9126ceeffd3812ab93ff5444ad",
        f"{_GUENES}/data/mock_abundances.npy",
    ),
}
"""Registry name (path in a mirror) -> file."""


def fetch(name: str, progress: bool = True, base_url: str | None = None) -> Path:
    """A verified local copy of a registered file, downloaded if it is not there.

    Args:
        name: a key of `FILES`, e.g. "yields/tng/AGB.hdf5".
        progress: draw a progress bar while downloading.
        base_url: address of a mirror with the registry's layout; by default
            the one in `CHEMSBI_DATA_URL`, and without it the public address.

    Raises:
        DatasetError: the file cannot be had, or its checksum is wrong.
    """
    if name not in FILES:
        raise DatasetError(f"Unknown data file {name!r}; known: {', '.join(FILES)}.")
    local = find_local(name)
    if local is not None:
        _verify(local, FILES[name].sha256)
        return local
    cached = cache_folder() / name
    if cached.is_file() and sha256(cached) == FILES[name].sha256:
        return cached
    base_url = base_url or os.environ.get(MIRROR_URL)
    if base_url:
        address = f"{base_url.rstrip('/')}/{name}"
        return _download(name, address, FILES[name].sha256, progress)
    return _from_public_address(name, progress)


def find_local(name: str) -> Path | None:
    """The file in the `CHEMSBI_DATA` folder, unverified; None if it is not there."""
    folder = os.environ.get(MIRROR_FOLDER)
    if not folder:
        return None
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise DatasetError(
            f"{MIRROR_FOLDER} is set to {folder}, which is no folder. Set it to an "
            "existing folder, or unset it."
        )
    return root / name if (root / name).is_file() else None


def cache_folder() -> Path:
    """Where downloads are kept."""
    return Path(pooch.os_cache("chemsbi_jax"))


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(path: Path, expected: str) -> None:
    found = sha256(path)
    if found != expected:
        raise DatasetError(
            f"{path} is not the published file: expected sha256 {expected}, found "
            f"{found}. Replace it by the original, or unset {MIRROR_FOLDER} to "
            "download it."
        )


def _from_public_address(name: str, progress: bool) -> Path:
    file = FILES[name]
    if file.url is None:
        raise MirrorOnlyError(
            f"{name} was made from {file.made_from} and has no public address of its "
            f"own: it comes from a mirror only; set {MIRROR_FOLDER} to a folder that "
            f"has it, or {MIRROR_URL} to an address that serves it."
        )
    if file.head is None:
        return _download(name, file.url, file.sha256, progress)
    whole = str(Path(name).with_name(file.url.rsplit("/", 1)[-1]))
    lines = _download(whole, file.url, file.head_of, progress).read_bytes()
    path = cache_folder() / name
    path.write_bytes(b"".join(lines.splitlines(keepends=True)[: file.head]))
    _verify(path, file.sha256)
    return path


def _download(name: str, address: str, expected: str, progress: bool) -> Path:
    pooch.get_logger().setLevel("WARNING")  # the progress bar is enough
    path = cache_folder() / name
    # pooch's own annotation of `downloader` does not admit its own class
    downloader: Any = pooch.HTTPDownloader(progressbar=progress)
    try:
        pooch.retrieve(
            address,
            known_hash=f"sha256:{expected}",
            fname=path.name,
            path=path.parent,
            downloader=downloader,
        )
    except (OSError, ValueError) as error:  # pooch: ValueError = wrong checksum
        raise DatasetError(
            f"could not download {name} from {address} ({_cause(error)}). Check the "
            f"connection, or set {MIRROR_FOLDER} to a folder that has the file."
        ) from error
    return path


def _cause(error: BaseException) -> str:
    """The innermost of the errors of a connection, in a few words."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return " ".join(str(error).split())[-100:] or type(error).__name__
