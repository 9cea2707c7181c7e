"""Colours that can be told apart with any kind of colour vision, and values turned into them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.colors import Normalize, to_hex, to_rgb, to_rgba, to_rgba_array

from scdart._constants import ATAC, RNA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.cm import ScalarMappable
    from numpy.typing import NDArray

    Palette = Sequence[str] | Mapping[str, str]

#: Okabe and Ito (2008), the light yellow last.
OKABE_ITO: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442")
#: What a cell measured in both modalities is called.
BOTH: Final = "both"
MODALITY_COLORS: Final = dict(zip((RNA, ATAC, BOTH), OKABE_ITO, strict=False))
#: Cells without a value, and background.
MISSING: Final = "#D5D5D5"
#: Perceptually uniform, and readable in grey.
CONTINUOUS: Final = "viridis"


@dataclass(frozen=True)
class Coloring:
    """What colours a set of points has, and how to explain them.

    Parameters
    ----------
    rgba
        Colour of every point, shape (n, 4).
    missing
        Points without a value, shape (n,).
    categories
        Colour of each category; ``None`` for numbers.
    mappable
        For the colour bar; ``None`` for categories.
    """

    rgba: NDArray[np.float64]
    missing: NDArray[np.bool_]
    categories: dict[str, str] | None = None
    mappable: ScalarMappable | None = None


def is_number(values: pd.Series) -> bool:
    """Whether values belong on a colour bar, not in a legend."""
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def color_points(
    values: pd.Series,
    *,
    palette: Palette | None = None,
    cmap: str = CONTINUOUS,
    vmin: float | None = None,
    vmax: float | None = None,
) -> Coloring:
    """Give every value a colour: numbers by a colour map, all else by category.

    Parameters
    ----------
    values
        One value a point. Missing and infinite values are grey.
    palette
        Colours of the categories, in their order or by name.
    cmap
        Name of the colour map of numbers.
    vmin, vmax
        Ends of the colour map; by default those of the finite values.

    Raises
    ------
    ValueError
        If the palette leaves a category without colour.
    """
    if is_number(values):
        numbers = values.to_numpy(dtype=float, na_value=np.nan)
        finite = np.isfinite(numbers)
        shown = numbers[finite] if finite.any() else np.array([0.0, 1.0])
        norm = Normalize(shown.min() if vmin is None else vmin, shown.max() if vmax is None else vmax)
        mappable = mpl.cm.ScalarMappable(norm, cmap)
        rgba = np.tile(to_rgba(MISSING), (len(values), 1))
        rgba[finite] = mappable.to_rgba(numbers[finite])
        return Coloring(rgba, ~finite, mappable=mappable)
    categorical = values.astype("category").cat.remove_unused_categories()
    names = [str(name) for name in categorical.cat.categories]
    colors = dict(zip(names, _palette(names, palette), strict=True))
    codes = categorical.cat.codes.to_numpy()
    return Coloring(to_rgba_array([*colors.values(), MISSING])[codes], codes < 0, categories=colors)


def _palette(names: Sequence[str], palette: Palette | None) -> list[str]:
    if palette is None:
        return default_palette(len(names))
    by_name = palette if isinstance(palette, Mapping) else dict(zip(names, palette, strict=False))
    if missing := [name for name in names if name not in by_name]:
        raise ValueError(f"palette has no colour for {missing[:5]}: it needs one for each of {len(names)} categories.")
    return [by_name[name] for name in names]


def default_palette(n: int) -> list[str]:
    """Colours for n categories: 8 hues, then the same darker and lighter, which differ in any colour vision too."""
    colors = list(OKABE_ITO)
    for background, share in (("black", 0.45), ("white", 0.55), ("black", 0.7), ("white", 0.75)):
        colors += [_blend(color, background, share) for color in OKABE_ITO]
    return [colors[i % len(colors)] for i in range(n)]


def _blend(color: str, other: str, share: float) -> str:
    # Black has nothing darker: it becomes a grey instead.
    other = "white" if color == OKABE_ITO[6] else other
    red, green, blue = (1 - share) * np.array(to_rgb(color)) + share * np.array(to_rgb(other))
    return to_hex((red, green, blue))
