"""MkDocs hooks: formulas as MathML, figures from plots/, links to other files.

The site needs no network: LaTeX is translated when the site is built, and browsers
display MathML themselves.
"""

import html
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
FIGURES = ("plots/**/*.png",)

_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)
_ROLE = re.compile(r":math:<code>(.*?)</code>", re.DOTALL)  # in docstrings
_LOG = re.compile(r"\\log\s*")
_LARGE = re.compile(
    r"<mo>(&#x02211;|&#x0220F;|&#x0222B;)</mo>"
)  # sum, product, integral
_CODE_LINK = re.compile(r"\]\(\.\./(?!plots/[^)]*\.png)[^)]*\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the figures of `plots/` to the site, under the same path."""
    for pattern in FIGURES:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(
                File.generated(config, name, abs_src_path=str(path))
            )  # fmt: skip
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Pages link to `../plots/x.png`, as a repository's viewer needs it.

    Links to other files of the repository (`../Makefile`) lose their target, because
    the site does not contain these files.
    """
    return _CODE_LINK.sub("]", markdown).replace("](../plots/", "](plots/")


def on_page_content(content: str, **_: object) -> str:
    """Translate every formula of a page to MathML."""
    content = _BLOCK.sub(lambda m: _mathml(m[1], "block"), content)
    content = _INLINE.sub(lambda m: _mathml(m[1], "inline"), content)
    return _ROLE.sub(lambda m: _mathml(m[1], "inline"), content)


def _mathml(latex: str, display: str) -> str:
    latex = _LOG.sub(r"\\log\\,", html.unescape(latex).strip())  # "log p", not "logp"
    return _LARGE.sub(r'<mo class="large">\1</mo>', convert(latex, display=display))
