"""How Sphinx builds the site: ``python -m sphinx -W docs docs/_build`` (no network needed)."""

from __future__ import annotations

import os
import pkgutil
import re
import shutil
import sys
from datetime import date
from importlib.metadata import metadata
from itertools import groupby
from pathlib import Path
from pprint import pformat
from typing import TYPE_CHECKING

from sphinx.pycode import ModuleAnalyzer

from scdart.module import LOSS_TERMS

if TYPE_CHECKING:
    from sphinx.application import Sphinx

info = metadata("scdart")
project = info["Name"]
author = info["Author"]
release = version = info["Version"]
copyright = f"{date.today().year}, {author}"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_autodoc_typehints",
    "scanpydoc.definition_list_typed_field",
    "scanpydoc.elegant_typehints",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxcontrib.bibtex",
    "sphinx-mathjax-offline",  # formulas are set without a content delivery network
]
exclude_patterns = ["_build", "generated", "**.ipynb_checkpoints"]  # what is generated here is included elsewhere
templates_path = ["_templates"]
default_role = "literal"

# -- API pages: every name in `__all__`, see _templates/autosummary ---------------------------------------------------
autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints = "none"  # left to sphinx_autodoc_typehints
napoleon_google_docstring = False
always_use_bars_union = True

# -- References -------------------------------------------------------------------------------------------------------
# Our own names must resolve. Those of other projects become links where their inventories can be fetched.
external = {
    "anndata": "https://anndata.readthedocs.io/en/stable/",
    "lightning": "https://lightning.ai/docs/pytorch/stable/",
    "matplotlib": "https://matplotlib.org/stable/",
    "mudata": "https://mudata.readthedocs.io/stable/",
    "muon": "https://muon.readthedocs.io/en/latest/",
    "numpy": "https://numpy.org/doc/stable/",
    "pandas": "https://pandas.pydata.org/docs/",
    "python": "https://docs.python.org/3/",
    "rich": "https://rich.readthedocs.io/en/stable/",
    "scanpy": "https://scanpy.readthedocs.io/en/stable/",
    "scipy": "https://docs.scipy.org/doc/scipy/",
    "scvi": "https://docs.scvi-tools.org/en/stable/",
    "sklearn": "https://scikit-learn.org/stable/",
    "torch": "https://docs.pytorch.org/docs/stable/",
}
on_read_the_docs = os.environ.get("READTHEDOCS") == "True"
intersphinx_mapping = {name: (url, None) for name, url in external.items()} if on_read_the_docs else {}
nitpicky = True
standard_library = ("collections", "os", "pathlib", "types", "typing")
nitpick_ignore_regex = [
    (r"py:.*", rf"({'|'.join([*external, *standard_library])})\..*"),
    (r"py:data", "Ellipsis"),
]
qualname_overrides = {
    "mudata._core.mudata.MuData": "mudata.MuData",
    # of which the model is put together
    "scdart.model._inference.InferenceMixin": "scdart.model.SCDART",
    "scdart.model._links.LinksMixin": "scdart.model.SCDART",
    "torch.nn.modules.module.Module": "torch.nn.Module",
}
bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"

# -- Markdown and notebooks -------------------------------------------------------------------------------------------
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are kept with their outputs
nb_ipywidgets_js = {}


def copy_tutorials() -> None:
    """Bring the notebooks in. Not by a link, which Sphinx resolves: it would not find the documents they refer to."""
    docs = Path(__file__).parent
    shutil.rmtree(docs / "tutorials", ignore_errors=True)
    shutil.copytree(docs.parent / "tutorials", docs / "tutorials", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    for path in (docs / "tutorials").glob("*.ipynb"):  # their references to the site hold on GitHub and in Jupyter
        path.write_text(path.read_text(encoding="utf-8").replace("](../docs/", "](../"), encoding="utf-8")


def write_loss_terms() -> None:
    """Write the table of loss terms that the user guide includes; terms that share an option share a row."""
    rows = [("term", "name in the history", "function", "weight", "default"), ("---",) * 5]
    for option, sharing in groupby(LOSS_TERMS, key=lambda term: term.option):
        terms = list(sharing)
        names = ", ".join(f"`{term.name}`" for term in terms)
        functions = ", ".join(f"{{func}}`~scdart.module.{form.__name__}`" for form in terms[0].forms)
        rows.append((f"${terms[0].symbol}$", names, functions, f"`{option}`", f"{terms[0].weight:g}"))
    folder = Path(__file__).parent / "generated"
    folder.mkdir(exist_ok=True)
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    (folder / "loss_terms.md").write_text(table, encoding="utf-8")


copy_tutorials()
write_loss_terms()

# -- Look -------------------------------------------------------------------------------------------------------------
html_theme = "sphinx_book_theme"
html_title = project
html_logo = html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_search_scorer = str(Path(__file__).parent / "_static" / "search_scorer.js")  # read from where Sphinx is started
html_context = {"default_mode": "auto"}
toc_object_entries_show_parents = "hide"  # names of methods, without their class, fit into the margin
html_theme_options = {
    "logo": {"text": project},
    "use_download_button": False,
    "use_fullscreen_button": False,
    "home_page_in_toc": False,
    "repository_url": dict(url.split(", ") for url in info.get_all("Project-URL"))["Source"],
    "use_issues_button": True,
    "use_repository_button": True,
    "navbar_persistent": [],  # the search field is in the sidebar
    "show_navbar_depth": 1,
    "pygments_light_style": "tango",
    "pygments_dark_style": "github-dark",
}


FROM_SCVI_TOOLS = {"history", "load", "prepare_query_mudata", "save"}  # what users call of all that a model inherits


def skip_member(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object) -> bool | None:
    """Leave out what a class has from other projects, and overrides without a docstring of their own."""
    if what not in ("attribute", "method", "property") or name in FROM_SCVI_TOOLS:
        return None  # Sphinx decides
    defined_in = getattr(getattr(obj, "fget", obj), "__module__", None) or ""
    return None if defined_in.startswith("scdart") and obj.__doc__ else True


def constant_docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Give a re-exported constant the comment that stands beside its definition, and its value in lines to be read."""
    package, _, constant = name.rpartition(".")
    if what != "data" or package not in sys.modules:
        return
    lines.clear()
    for info in pkgutil.iter_modules(sys.modules[package].__path__, f"{package}."):
        lines += ModuleAnalyzer.for_module(info.name).find_attr_docs().get(("", constant), [])
    value = re.sub(" at 0x[0-9a-f]+", "", pformat(obj, width=90, sort_dicts=False))
    lines += ["", ".. code-block:: python", "", *(f"   {line}" for line in value.splitlines()), ""]


def setup(app: Sphinx) -> None:
    """Connect the two functions above; called by Sphinx."""
    app.connect("autodoc-skip-member", skip_member)
    app.connect("autodoc-process-docstring", constant_docstring)
