"""Arguments of the simulator that cannot be met, alone or together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from ._kinetics import LinkNonlinearity
from ._links import LinkKind

if TYPE_CHECKING:
    from collections.abc import Mapping


def check_arguments(args: Mapping[str, Any]) -> tuple[int, int]:
    """Numbers of RNA and ATAC cells, or a ``ValueError`` that names the argument, its value and the way out."""
    n_cells = args["n_cells"] if isinstance(args["n_cells"], tuple) else (args["n_cells"],) * 2
    if len(n_cells) != 2:
        raise ValueError(f"n_cells={n_cells} must be one number or a pair: RNA cells and ATAC cells")
    n_rna, n_atac = n_cells
    for name, value in (("n_cells (RNA)", n_rna), ("n_cells (ATAC)", n_atac)):
        _check_count(name, value, at_least=2)
    if args["n_de"] > args["n_evf"]:
        raise ValueError(f"n_de={args['n_de']} factors follow the tree, but there are only n_evf={args['n_evf']}")

    mean, sd = args["capture_efficiency"]
    _check_number("mean of capture_efficiency", mean, high=1, positive=True)
    _check_number("standard deviation of capture_efficiency", sd)

    _check_choice("link_kind", args["link_kind"], get_args(LinkKind))
    _check_choice("link_nonlinearity", args["link_nonlinearity"], get_args(LinkNonlinearity))
    _check_links(args)
    _check_design(args, n_rna, n_atac)
    _check_batches(args)
    return n_rna, n_atac


def _check_links(args: Mapping[str, Any]) -> None:
    shares = np.asarray(args["links_per_gene"], dtype=float)
    if shares.ndim != 1 or not np.all(shares >= 0) or not np.isclose(shares.sum(), 1):
        raise ValueError(
            f"links_per_gene={args['links_per_gene']} must be the shares of genes with 0, 1, ... peaks, which sum to 1"
        )
    if not np.any(shares[1:] > 0):
        raise ValueError(
            "links_per_gene leaves every gene without a peak; for independent modalities set atac_effect=0"
        )
    if len(shares) - 1 > args["n_peaks"]:
        raise ValueError(f"links_per_gene asks for {len(shares) - 1} peaks a gene, but n_peaks={args['n_peaks']}")
    if args["link_kind"] == "genomic" and (args["prior_precision"] < 1 or args["prior_recall"] < 1):
        raise ValueError(
            "prior_precision and prior_recall cannot be chosen with link_kind='genomic': positions make the prior"
        )


def _check_design(args: Mapping[str, Any], n_rna: int, n_atac: int) -> None:
    """How cells are shared out among modalities, branches and batches."""
    given = [name for name in ("proportions_rna", "proportions_atac") if args[name] is not None]
    if args["paired"] and n_rna != n_atac:
        raise ValueError(f"paired=True needs one number of cells, found n_cells={args['n_cells']}")
    if args["paired"] and given and not np.array_equal(args["proportions_rna"], args["proportions_atac"]):
        raise ValueError("paired=True needs proportions_rna and proportions_atac to be equal: the cells are the same")
    if args["rare_branch"] is not None and given:
        raise ValueError(f"rare_branch and {given[0]} both set the share of a branch: give one of them")
    if args["batch_effect"] > 0 and args["n_batches_rna"] == args["n_batches_atac"] == 1:
        raise ValueError(
            f"batch_effect={args['batch_effect']} needs several batches: raise n_batches_rna or n_batches_atac"
        )
    for modality, n_cells in (("rna", n_rna), ("atac", n_atac)):
        if args[f"n_batches_{modality}"] > n_cells:
            raise ValueError(f"n_batches_{modality}={args[f'n_batches_{modality}']} exceeds its {n_cells} cells")


def _check_batches(args: Mapping[str, Any]) -> None:
    """Compare what is said of each batch with the number of batches, and with all that sets the same shares."""
    for mod, capture in (("rna", args["capture_efficiency"][0]), ("atac", args["peak_capture"])):
        n_batches = args[f"n_batches_{mod}"]
        shares, depth = (args[f"batch_{what}_{mod}"] for what in ("proportions", "depth"))
        for name, given in ((f"batch_proportions_{mod}", shares), (f"batch_depth_{mod}", depth)):
            if given is not None and len(given) != n_batches:
                raise ValueError(
                    f"{name} has {len(given)} entries for n_batches_{mod}={n_batches}: give one for each batch"
                )
        if shares is not None:
            for other in (f"proportions_{mod}", "rare_branch", *(("proportions_rna",) if args["paired"] else ())):
                if args[other] is not None:
                    raise ValueError(f"{other} and batch_proportions_{mod} both set the share of a branch: give one")
        for value in () if depth is None else depth:
            _check_number(f"a factor of batch_depth_{mod}", value, positive=True)
            if value * capture > 1:
                of = "the mean of capture_efficiency" if mod == "rna" else "peak_capture"
                raise ValueError(
                    f"batch_depth_{mod} has a factor of {value}, which would capture more than there is: with {of} at "
                    f"{capture}, factors must be at most {1 / capture:.3g}"
                )


def _check_count(name: str, value: Any, *, at_least: int) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < at_least:
        raise ValueError(f"{name}={value!r} must be a whole number of at least {at_least}")


def _check_number(name: str, value: float, *, high: float = np.inf, positive: bool = False) -> None:
    if not np.isfinite(value) or not 0 <= value <= high or (positive and value == 0):
        low = "more than 0" if positive else "at least 0"
        raise ValueError(f"{name}={value} must be {low}" + (f" and at most {high}" if np.isfinite(high) else ""))


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}={value!r} is not one of {list(choices)}")
