"""Descriptions that many docstrings share, written once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    Documented = TypeVar("Documented", bound=Callable[..., object])

#: What stands in place of a line ``%(name)s``. Entries of parameters are as numpydoc wants them, without types.
TEXTS: Final = {
    # what functions read and write
    "rna_mod": """\
rna_mod
    Name of the RNA modality.""",
    "atac_mod": """\
atac_mod
    Name of the ATAC modality.""",
    "mods": """\
rna_mod, atac_mod
    Names of the modalities.""",
    "key_added": """\
key_added
    Name of the slots to write.""",
    "copy": """\
copy
    Whether to return a copy instead of writing to `mdata`.""",
    "written_prior": """\
`None`, or the copy with `copy=True`. Written to the ATAC modality:

`varm[key_added]`
    The prior, sparse (CSR, float32), of shape (n_peaks, n_genes).
`uns[key_added]`
    `"genes"`: names of the columns, in the order of the RNA modality's `var_names`.""",
    "seed_of_search": """\
random_state
    Seed of the approximate search for neighbours, among more than 50,000 cells; `None` takes `scvi.settings.seed`, or 0
    where there is none.""",
    # pictures
    "basis": """\
basis
    See :func:`scdart.pl.latent`.""",
    "use_rep": """\
use_rep
    Slot of ``obsm`` with the latent space.""",
    "size": """\
size
    Area of a point in square points; by default it follows the number of cells.""",
    "ncols": """\
ncols
    Panels in a row.""",
    "drawing_order": """\
random_state
    Seed of the drawing order; ``None`` takes ``scvi.settings.seed``, or 0 where there is none.""",
    "ax_show_save": """\
ax
    Axes to draw a single panel on.
show
    Whether to call :func:`matplotlib.pyplot.show`; by default, if ``scanpy.settings.autoshow`` and no ``ax`` given.
save
    File to write the figure to.""",
    "show_save": """\
show
    Whether to call :func:`matplotlib.pyplot.show`; by default, if ``scanpy.settings.autoshow``.
save
    File to write the figure to.""",
    # integrated data for examples: what the simulator knows stands for a latent space
    "example_of_fork": """\
>>> import scdart
>>> mdata = scdart.datasets.simulate("bifurcating", n_cells=100, n_genes=50, n_peaks=100)
>>> for mod in ("rna", "atac"):
...     mdata[mod].obsm["X_scdart"] = mdata[mod].obsm["tree_factors"]""",
    "example_with_tree": """\
>>> import numpy as np
>>> import scdart
>>> mdata = scdart.datasets.simulate("linear", n_cells=100, n_genes=50, n_peaks=100)
>>> stage = np.concatenate([mdata[mod].obs["pseudotime"] for mod in mdata.mod])
>>> mdata.obsm["X_scdart"] = np.c_[stage, stage**2]  # in place of model.get_latent_representation()
>>> scdart.tl.pseudotime(mdata, root_score="pseudotime")
>>> scdart.tl.backbone(mdata)""",
    # metrics
    "z_of_mates": """\
z_rna
    Latent coordinates of the RNA measurements, cells x dimensions.
z_atac
    Latent coordinates of the ATAC measurements, cells x dimensions; row i is the same cell as row i of ``z_rna``.""",
    "z_of_modalities": """\
z_rna
    Latent coordinates of RNA cells, cells x dimensions. The cells of the two modalities need not correspond.
z_atac
    Latent coordinates of ATAC cells, cells x dimensions.""",
    "z_of_batches": """\
z
    Latent coordinates of cells of one modality, cells x dimensions.
batch
    Batch of every cell.""",
    "labels_of_batches": """\
labels
    Branch or cell type of every cell; batches are then compared within each. Left out are labels of a single batch, and
    those of no more than k cells.""",
    "raises_of_batches": """\
Raises
------
ValueError
    If lengths do not fit, a value is NaN or infinite, a batch or label is missing, there is a single batch, or no cells
    can be compared since ``k`` is too large.""",
    "expression": """\
predicted
    Predicted expression, cells x genes, dense or sparse.
truth
    True expression of the same cells and genes, cells x genes, dense or sparse.""",
    "correlation": """\
method
    Pearson or Spearman correlation.""",
    "batch_key": """\
batch_key
    Column of `obs` of both modalities, or of one, with the batch of each cell: what sets the batches of a modality
    apart is taken out first, see :func:`scdart.pp.batch_factors`, which is called where it was not.""",
    "kmeans_seed": """\
random_state
    Seed of the k-means initialisations; ``None`` takes ``scvi.settings.seed``, or 0 where there is none.""",
    "from_0_to_1": """\
Returns
-------
A number between 0 and 1.""",
    "nmi_and_ari": """\
Returns
-------
NMI and ARI; 1 is perfect.""",
    "needs_scib": """\
ModuleNotFoundError
    If scib-metrics is not installed.""",
    "scdart_paper": """\
References
----------
Zhang, Yang and Zhang (2022), scDART, Genome Biology 23:139, doi:10.1186/s13059-022-02706-x.""",
}

#: A line of its own: docstrings are full of other percent signs and braces.
_PLACEHOLDER: Final = re.compile(r"^([ \t]*)%\((\w+)\)s$", re.MULTILINE)


def fill_in_docs(function: Documented) -> Documented:
    """Put the shared texts in place of the lines ``%(name)s`` of a docstring, as deep as these are indented.

    Parameters
    ----------
    function
        What is documented; handed back itself, so that its signature and types stay what they are.

    Raises
    ------
    KeyError
        If a text is not known.

    Examples
    --------
    >>> from scdart._docs import fill_in_docs
    >>> @fill_in_docs
    ... def draw(size):
    ...     '''Draw.
    ...
    ...     Parameters
    ...     ----------
    ...     %(size)s
    ...     '''
    >>> "Area of a point" in draw.__doc__
    True
    """
    if function.__doc__ is not None:  # as it is where Python runs with -OO
        function.__doc__ = _PLACEHOLDER.sub(_text, function.__doc__)
    return function


def _text(placeholder: re.Match[str]) -> str:
    indent, name = placeholder.groups()
    return "\n".join(indent + line for line in TEXTS[name].split("\n"))
