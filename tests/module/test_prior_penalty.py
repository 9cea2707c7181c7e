from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy import sparse

from scdart.module._prior_penalty import linear_effects, off_prior_mass, prior_l1, prior_l2, prior_share, sample_peaks
from scdart.module._sparse import PriorLinks

if TYPE_CHECKING:
    from collections.abc import Callable

torch.set_num_threads(1)
N_PEAKS, N_GENES = 8, 4


@pytest.fixture
def weights() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = [N_PEAKS, 6, 5, N_GENES]
    return [
        torch.randn(n_out, n_in, dtype=torch.float64, generator=generator, requires_grad=True)
        for n_in, n_out in zip(sizes, sizes[1:], strict=False)
    ]


@pytest.fixture
def prior() -> np.ndarray:
    return (np.random.default_rng(0).random((N_PEAKS, N_GENES)) < 0.3).astype(float)


@pytest.fixture
def links(prior: np.ndarray) -> PriorLinks:
    links = PriorLinks(N_PEAKS, N_GENES, int(prior.sum()))
    links.set_prior(sparse.csr_matrix(prior))
    return links


def effects_of(weights: list[torch.Tensor]) -> np.ndarray:
    """(W3 W2 W1)^T, peaks x genes."""
    w1, w2, w3 = (weight.detach().numpy() for weight in weights)
    return (w3 @ w2 @ w1).T


def test_linear_effects(weights: list[torch.Tensor]) -> None:
    np.testing.assert_allclose(linear_effects(weights).detach(), effects_of(weights))
    np.testing.assert_allclose(linear_effects(weights, torch.tensor([5, 2])).detach(), effects_of(weights)[[5, 2]])


def test_exact_penalties(weights: list[torch.Tensor], links: PriorLinks, prior: np.ndarray) -> None:
    effects = effects_of(weights)
    off = effects * (1 - prior)
    assert prior_l1(weights, links).item() == pytest.approx(np.abs(off).sum())
    assert prior_l2(weights, links).item() == pytest.approx(np.linalg.norm(off))
    assert prior_share(weights, links).item() == pytest.approx(np.abs(off).sum() / np.abs(effects).sum())


def test_share_counts_the_prior_path_as_on_prior(
    weights: list[torch.Tensor], links: PriorLinks, prior: np.ndarray
) -> None:
    link_weights = torch.linspace(-2, 2, links.n_links, dtype=torch.float64)
    effects = effects_of(weights)
    share = np.abs(effects * (1 - prior)).sum() / (np.abs(effects).sum() + np.abs(link_weights.numpy()).sum())
    assert prior_share(weights, links, link_weights=link_weights).item() == pytest.approx(share)


def test_share_ignores_the_scale_of_the_weights(weights: list[torch.Tensor], links: PriorLinks) -> None:
    shrunk = [0.01 * weights[0], weights[1], 0.1 * weights[2]]
    assert prior_share(shrunk, links).item() == pytest.approx(prior_share(weights, links).item())
    assert prior_l1(shrunk, links).item() == pytest.approx(1e-3 * prior_l1(weights, links).item())


@pytest.mark.parametrize("power", [1, 2])
def test_masses_of_a_block_are_unbiased(weights: list[torch.Tensor], links: PriorLinks, power: int) -> None:
    link_weights = torch.linspace(-2, 2, links.n_links, dtype=torch.float64)

    def masses(peaks: torch.Tensor | None) -> list[float]:
        return [part.item() for part in off_prior_mass(weights, links, peaks, link_weights=link_weights, power=power)]

    # The expectation is the mean over every block of three peaks.
    estimates = [masses(torch.tensor(block)) for block in combinations(range(N_PEAKS), 3)]
    np.testing.assert_allclose(np.mean(estimates, axis=0), masses(None), rtol=1e-12)


def test_gradients_of_a_block_are_unbiased(weights: list[torch.Tensor], links: PriorLinks) -> None:
    exact = torch.autograd.grad(prior_l1(weights, links), weights)
    blocks = [torch.tensor(block) for block in combinations(range(N_PEAKS), 3)]
    sampled = [torch.autograd.grad(prior_l1(weights, links, block), weights) for block in blocks]
    for gradient, estimates in zip(exact, zip(*sampled, strict=True), strict=True):
        torch.testing.assert_close(torch.stack(estimates).mean(dim=0), gradient)


def test_share_of_blocks_is_consistent() -> None:
    """The bias of a ratio of two estimates falls with the size of the block and is below one in a thousand at 256."""
    generator = torch.Generator().manual_seed(0)
    # Peaks of very uneven strength, log-normal.
    first = torch.randn(16, 2000, generator=generator) * torch.randn(2000, generator=generator).exp()
    weights = [first, torch.randn(30, 16, generator=generator)]
    prior = sparse.random(2000, 30, density=0.3, format="csr", random_state=0)
    links = PriorLinks(2000, 30, prior.nnz)
    links.set_prior(prior)
    torch.manual_seed(0)
    exact = prior_share(weights, links).item()
    shares = [prior_share(weights, links, sample_peaks(2000, 256)).item() for _ in range(200)]
    standard_error = np.std(shares) / np.sqrt(len(shares))
    assert np.mean(shares) == pytest.approx(exact, abs=1e-3 * exact + 3 * standard_error)
    assert np.std(shares) < 0.02 * exact


@pytest.mark.parametrize("peaks", [None, torch.tensor([1, 6, 3])])
def test_gradients(weights: list[torch.Tensor], links: PriorLinks, peaks: torch.Tensor | None) -> None:
    link_weights = torch.linspace(-2, 2, links.n_links, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda link_weights, *weights: prior_share(weights, links, peaks, link_weights=link_weights),
        (link_weights, *weights),
    )
    assert torch.autograd.gradcheck(lambda *weights: prior_l1(weights, links, peaks), weights)
    assert torch.autograd.gradcheck(lambda *weights: prior_l2(weights, links, peaks), weights)


@pytest.mark.parametrize("penalty", [prior_share, prior_l1, prior_l2])
def test_a_zero_layer_gives_zero_and_finite_gradients(
    penalty: Callable[..., torch.Tensor], weights: list[torch.Tensor], links: PriorLinks
) -> None:
    zero = torch.zeros_like(weights[2], requires_grad=True)
    value = penalty([*weights[:2], zero], links)
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert all(torch.isfinite(gradient).all() for gradient in torch.autograd.grad(value, [*weights[:2], zero]))


def test_sample_peaks() -> None:
    block = sample_peaks(100, 20)
    assert len(block.unique()) == 20
    assert block.max() < 100
    assert sample_peaks(100, 100) is None
