from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from scdart.module._losses import expression_loss, group_anchor_loss, mmd, mmd_published, pair_anchor_loss
from scdart.module._trajectory_losses import block_distances, diffusion_kl, diffusion_log, diffusion_mse

if TYPE_CHECKING:
    from collections.abc import Callable

torch.set_num_threads(1)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- diffusion distances ---------------------------------------------------------------------------------------------


def test_block_distances_are_averaged_over_blocks() -> None:
    x = normal(7, 6)
    blocks = [slice(0, 2), slice(2, 4), slice(4, 6)]
    np.testing.assert_allclose(block_distances(x, 3), np.mean([cdist(x[:, b], x[:, b]) for b in blocks], axis=0))


def test_block_distances_refuses_unequal_blocks() -> None:
    with pytest.raises(ValueError, match="7 diffusion coordinates do not divide into 3"):
        block_distances(torch.zeros(2, 7), 3)


def test_equal_cells_have_next_to_no_distance_far_from_the_origin() -> None:
    x = 1000 + torch.randn(40, 20)
    distances = block_distances(torch.cat([x, x]), 2)
    assert (distances.diagonal() == 0).all()
    assert distances[:40, 40:].diagonal().max() < 1e-3 * distances.median()


@pytest.mark.parametrize("n_cells", [2, 9])
@pytest.mark.parametrize("squared", [False, True])
def test_diffusion_losses(n_cells: int, squared: bool) -> None:
    z, target = normal(n_cells, 3), cdist(normal(n_cells, 5, seed=1), normal(n_cells, 5, seed=1))
    latent = cdist(z, z, "sqeuclidean" if squared else "euclidean")
    off = ~np.eye(n_cells, dtype=bool)
    q_z, q_x = latent[off] / latent[off].sum(), target[off] / target[off].sum()

    kl = diffusion_kl(z, torch.as_tensor(target), squared=squared).item()
    assert kl == pytest.approx((q_z * np.log(q_z / q_x)).sum(), abs=1e-9)
    assert kl >= 0
    log = diffusion_log(z, torch.as_tensor(target), squared=squared).item()
    assert log == pytest.approx(np.log(q_z / q_x).var() / 2, rel=1e-4, abs=1e-9)
    mse = diffusion_mse(z, torch.as_tensor(target), squared=squared).item()
    assert mse == pytest.approx(np.linalg.norm(latent / np.linalg.norm(latent) - target / np.linalg.norm(target)))


@pytest.mark.parametrize("loss", [diffusion_log, diffusion_kl, diffusion_mse])
def test_diffusion_losses_ignore_scale_and_vanish_at_a_perfect_fit(loss: Callable[..., torch.Tensor]) -> None:
    z, target = normal(9, 3), block_distances(normal(9, 3, seed=1), 1)
    assert loss(10 * z, 3 * target).item() == pytest.approx(loss(z, target).item(), rel=1e-9)
    assert loss(z, 3 * block_distances(z, 1)).item() == pytest.approx(0, abs=1e-9)


def test_diffusion_log_is_diffusion_kl_without_its_weights() -> None:
    """Close to a perfect fit, and with targets that are all alike, the two agree to second order."""
    z = torch.eye(9, dtype=torch.float64) + 1e-3 * normal(9, 9)
    target = torch.ones(9, 9, dtype=torch.float64).fill_diagonal_(0)
    assert diffusion_log(z, target).item() == pytest.approx(diffusion_kl(z, target).item(), rel=0.05)


def test_diffusion_log_feels_near_pairs_that_diffusion_kl_forgets() -> None:
    target = torch.tensor([[0.0, 0.01, 1.0], [0.01, 0.0, 1.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
    true, thin = (torch.tensor([[0.0], [near], [1.0]], dtype=torch.float64) for near in (0.01, 0.002))
    assert diffusion_kl(thin, target) - diffusion_kl(true, target) < 0.02
    assert diffusion_log(thin, target) - diffusion_log(true, target) > 0.25


def test_diffusion_log_leaves_out_cells_that_are_the_same() -> None:
    coordinates, z = normal(5, 2), normal(5, 3)
    twice = [0, 1, 2, 3, 4, 4]
    repeated = diffusion_log(z[twice], block_distances(coordinates[twice], 1))
    assert repeated.item() > 0
    target = block_distances(coordinates, 1)
    latent = torch.cdist(z, z)
    pairs = [(i, j) for i in range(6) for j in range(6) if twice[i] != twice[j]]
    q, p = (torch.stack([of[twice[i], twice[j]] for i, j in pairs]) for of in (latent, target))
    expected = (q / p).log().var(correction=0) / 2
    assert repeated.item() == pytest.approx(expected.item(), rel=1e-3)
    assert diffusion_log(z, torch.zeros(5, 5, dtype=z.dtype)).item() == 0


def test_diffusion_log_asks_for_a_spread() -> None:
    z, target = normal(9, 3), block_distances(normal(9, 5, seed=1), 1)
    latent_log, target_log = (np.log(d[~np.eye(9, dtype=bool)]) for d in (cdist(z, z), target.numpy()))
    residual = target_log.std() / 0.4 * latent_log - target_log
    assert diffusion_log(z, target, spread=0.4).item() == pytest.approx(residual.var() / 2, rel=1e-4)
    # A power of the target asks for the same latent space; the loss grows with the square of that power.
    assert diffusion_log(z, target**3, spread=0.4).item() == pytest.approx(9 * residual.var() / 2, rel=1e-4)
    assert diffusion_log(z, torch.cdist(z, z) ** 2, spread=float(latent_log.std())).item() < 1e-9


def test_diffusion_log_does_not_spread_rounding() -> None:
    z = torch.eye(9, dtype=torch.float64)
    equal = (1 + 1e-6 * normal(9, 9)).fill_diagonal_(0)
    assert diffusion_log(z, equal, spread=0.4).item() < 1e-6


# --- alignment -------------------------------------------------------------------------------------------------------


def mmd_by_loops(x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray) -> float:
    both = np.vstack([x, y])
    median = np.median([np.linalg.norm(a - b) for i, a in enumerate(both) for b in both[:i]])

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return np.mean([np.exp(-((a - b) ** 2).sum() / (2 * (s * median) ** 2)) for s in (0.25, 0.5, 1, 2, 4)])

    def within(x: np.ndarray, w: np.ndarray) -> float:
        pairs = [(i, j) for i in range(len(x)) for j in range(len(x)) if i != j]
        return sum(w[i] * w[j] * kernel(x[i], x[j]) for i, j in pairs) / sum(w[i] * w[j] for i, j in pairs)

    between = sum(u[i] * v[j] * kernel(x[i], y[j]) for i in range(len(x)) for j in range(len(y))) / u.sum() / v.sum()
    return within(x, u) + within(y, v) - 2 * between


@pytest.mark.parametrize(("n_x", "n_y"), [(2, 2), (6, 9)])  # an even and an odd number of pairs
def test_mmd(n_x: int, n_y: int) -> None:
    x, y, u, v = normal(n_x, 3), normal(n_y, 3, seed=1), uniform(n_x), uniform(n_y, seed=1)
    if n_x == 2:
        # torch takes the lower of the two middle values for the median; a duplicate makes them one.
        y = x.clone()
    ones = np.ones(max(n_x, n_y))
    assert mmd(x, y).item() == pytest.approx(mmd_by_loops(x.numpy(), y.numpy(), ones[:n_x], ones[:n_y]))
    weighted = mmd(x, y, x_weights=u, y_weights=10 * v)
    assert weighted.item() == pytest.approx(mmd_by_loops(x.numpy(), y.numpy(), u.numpy(), v.numpy()))
    one_sided = mmd(x, y, x_weights=u)
    assert one_sided.item() == pytest.approx(mmd_by_loops(x.numpy(), y.numpy(), u.numpy(), ones[:n_y]))


def test_mmd_is_unbiased_where_the_published_one_is_not() -> None:
    values = np.array(
        [
            [loss(normal(60, 4, seed=2 * s), normal(60, 4, seed=2 * s + 1)).item() for loss in (mmd, mmd_published)]
            for s in range(200)
        ]
    )
    mean, standard_error = values.mean(axis=0), values.std(axis=0) / np.sqrt(len(values))
    assert abs(mean[0]) < 3 * standard_error[0]
    assert standard_error[0] < 1e-3
    assert mean[1] > 0.1


def test_mmd_ignores_the_scale_of_the_latent() -> None:
    x, y = normal(20, 3), normal(20, 3, seed=1) + 1
    assert mmd(100 * x, 100 * y).item() == pytest.approx(mmd(x, y).item())
    assert mmd(x, y, bandwidths=(1.0,)).item() != pytest.approx(mmd(x, y).item())


def test_weights_remove_the_reward_for_mixing_cell_types() -> None:
    """Two types, 80/20 in one modality and 20/80 in the other: the right alignment must be the better one."""
    centres = torch.tensor([[0.0] * 4, [1.0] * 4], dtype=torch.float64)
    x_type, y_type = torch.arange(400) >= 320, torch.arange(400) >= 80
    x, y = (centres[kind.long()] + 0.1 * normal(400, 4, seed=s) for s, kind in enumerate((x_type, y_type)))
    wrong = y.clone()
    wrong[80:320] -= 1  # 240 cells of the second type sit on the first: equal proportions, wrong cells
    x_weights, y_weights = torch.where(x_type, 4.0, 1.0).double(), torch.where(y_type, 1.0, 4.0).double()

    assert mmd(x, y) > 0.1 > 0.01 > abs(mmd(x, wrong))
    assert abs(mmd(x, y, x_weights=x_weights, y_weights=y_weights)) < 0.01
    assert mmd(x, wrong, x_weights=x_weights, y_weights=y_weights) > 0.1


@pytest.mark.parametrize(
    "weights",
    [
        {"x_weights": torch.zeros(5, dtype=torch.float64)},
        {"x_weights": torch.eye(5, dtype=torch.float64)[0]},
        {"x_weights": 1e-3 * torch.eye(5, dtype=torch.float64)[0], "y_weights": torch.ones(7, dtype=torch.float64)},
    ],
)
def test_mmd_is_zero_without_two_cells_of_positive_weight(weights: dict[str, torch.Tensor]) -> None:
    x, y = normal(5, 3).requires_grad_(), normal(7, 3, seed=1)
    loss = mmd(x, y, **weights)
    loss.backward()
    assert loss.item() == 0
    assert (x.grad == 0).all()
    assert mmd(x[:1], y).item() == 0


@pytest.mark.parametrize(("n_x", "n_y"), [(2, 2), (6, 9)])
def test_mmd_published(n_x: int, n_y: int) -> None:
    x, y = 0.1 * normal(n_x, 3), 0.1 * normal(n_y, 3, seed=1) + 0.1
    variances = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 5, 10, 15, 20, 25, 30, 35, 100, 1e3, 1e4, 1e5, 1e6]

    def kernel(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
        return sum(np.exp(-cdist(a, b, "sqeuclidean") / (2 * variance)) for variance in variances)

    difference = kernel(x, x).mean() + kernel(y, y).mean() - 2 * kernel(x, y).mean()
    assert mmd_published(x, y).item() == pytest.approx(np.sqrt(difference**2 + 1e-9))


# --- anchors and expression ------------------------------------------------------------------------------------------


def test_group_anchor_loss() -> None:
    z_rna, z_atac = normal(6, 2), normal(5, 2, seed=1)
    rna, atac = torch.tensor([0, 0, 3, 3, 1, -1]), torch.tensor([3, 0, 0, 2, -1])
    # Groups 1 and 2 are in one modality only.
    difference = [z_rna[:2].mean(0) - z_atac[1:3].mean(0), z_rna[2:4].mean(0) - z_atac[0]]
    norms = [np.linalg.norm(d) for d in difference]
    assert group_anchor_loss(z_rna, rna, z_atac, atac).item() == pytest.approx(np.mean(np.square(norms)))
    assert group_anchor_loss(z_rna, rna, z_atac, atac, squared=False).item() == pytest.approx(np.mean(norms))


@pytest.mark.parametrize("codes", [[-1, -1], [0, -1]])
@pytest.mark.parametrize("squared", [False, True])
def test_no_shared_group_is_no_loss(codes: list[int], squared: bool) -> None:
    z = normal(2, 3).requires_grad_()
    loss = group_anchor_loss(z, torch.tensor(codes), z + 1, torch.tensor([-1, -1]), squared=squared)
    loss.backward()
    assert loss.item() == 0
    assert (z.grad == 0).all()


def test_pair_anchor_loss() -> None:
    rna, atac, weights = normal(8, 3), normal(8, 3, seed=1), uniform(8)
    w = weights.numpy()
    distance = np.average(((rna - atac) ** 2).sum(dim=1), weights=w)
    variance = np.mean([np.trace(np.cov(z.T, aweights=w, ddof=0)) for z in (rna.numpy(), atac.numpy())])
    assert pair_anchor_loss(rna, atac, weights).item() == pytest.approx(distance / variance)
    ones = torch.ones(8, dtype=torch.float64)
    assert pair_anchor_loss(rna, atac).item() == pytest.approx(pair_anchor_loss(rna, atac, ones).item())


def test_shrinking_the_latent_does_not_pay() -> None:
    scale = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    loss = pair_anchor_loss(scale * normal(8, 3), scale * normal(8, 3, seed=1))
    (slope,) = torch.autograd.grad(loss, scale)
    assert slope.item() == pytest.approx(0, abs=1e-12)


def test_pair_anchor_loss_of_random_partners_is_two() -> None:
    z = normal(4000, 3) * torch.tensor([1.0, 5.0, 0.1])
    partners = z[torch.randperm(4000, generator=torch.Generator().manual_seed(0))]
    assert pair_anchor_loss(z, partners).item() == pytest.approx(2, rel=0.05)


def test_expression_loss() -> None:
    predicted, target, weights = normal(5, 4), normal(5, 4, seed=1), uniform(5)
    per_gene = [np.average((predicted[:, g] - target[:, g]) ** 2, weights=weights) for g in range(4)]
    assert expression_loss(predicted, target, weights).item() == pytest.approx(np.mean(per_gene))
    assert expression_loss(predicted, target).item() == pytest.approx(((predicted - target) ** 2).mean().item())
    assert expression_loss(predicted, target, torch.zeros(5, dtype=torch.float64)).item() == 0


# --- gradients of all ------------------------------------------------------------------------------------------------

TARGET = block_distances(normal(6, 4, seed=5), 2)
GROUPS_RNA, GROUPS_ATAC = torch.tensor([0, 0, 1, 1, 2, -1]), torch.tensor([1, 0, 0, 1, -1, 3])
WEIGHTS = uniform(6, seed=6)

LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "log": lambda z, _: diffusion_log(z, TARGET),
    "log spread": lambda z, _: diffusion_log(z, TARGET, spread=0.4),
    "log squared": lambda z, _: diffusion_log(z, TARGET, squared=True),
    "kl": lambda z, _: diffusion_kl(z, TARGET),
    "kl squared": lambda z, _: diffusion_kl(z, TARGET, squared=True),
    "mse": lambda z, _: diffusion_mse(z, TARGET),
    "mse squared": lambda z, _: diffusion_mse(z, TARGET, squared=True),
    "mmd published": mmd_published,
    "group": lambda x, y: group_anchor_loss(x, GROUPS_RNA, y, GROUPS_ATAC),
    "group published": lambda x, y: group_anchor_loss(x, GROUPS_RNA, y, GROUPS_ATAC, squared=False),
    "pair": pair_anchor_loss,
    "pair weighted": lambda x, y: pair_anchor_loss(x, y, WEIGHTS.to(x)),
    "expression": expression_loss,
    "expression weighted": lambda x, y: expression_loss(x, y, WEIGHTS.to(x)),
}
MMDS = {
    "mmd": mmd,
    "mmd weighted": lambda x, y: mmd(x, y, x_weights=WEIGHTS.to(x), y_weights=WEIGHTS.flip(0).to(x)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name: str) -> None:
    x, y = normal(6, 3).requires_grad_(), normal(6, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(LOSSES[name], (x, y))


@pytest.mark.parametrize("weights", [{}, {"x_weights": WEIGHTS, "y_weights": WEIGHTS.flip(0)}])
def test_mmd_gradient_takes_the_median_as_a_constant(weights: dict[str, torch.Tensor]) -> None:
    """Against finite differences with the bandwidths held at the values of the unmoved cells."""
    x, y = normal(6, 3).requires_grad_(), normal(6, 3, seed=1)

    def median(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pdist(torch.cat([x, y])).median().item()

    fixed = median(x.detach())
    bandwidths = (0.25, 0.5, 1.0, 2.0, 4.0)

    def held(x: torch.Tensor) -> torch.Tensor:
        return mmd(x, y, bandwidths=[b * fixed / median(x) for b in bandwidths], **weights)

    (gradient,) = torch.autograd.grad(mmd(x, y, **weights), x)
    numeric = torch.zeros_like(gradient)
    for i in np.ndindex(*x.shape):
        step = torch.zeros_like(gradient)
        step[i] = 1e-6
        numeric[i] = (held(x.detach() + step) - held(x.detach() - step)) / 2e-6
    torch.testing.assert_close(gradient, numeric, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", [*LOSSES, *MMDS])
@pytest.mark.parametrize("case", ["a duplicate", "all the same"])
def test_finite_where_cells_coincide(name: str, case: str) -> None:
    x = normal(6, 3).float() if case == "a duplicate" else torch.ones(6, 3)
    x[1] = x[0]
    x, y = x.requires_grad_(), x.detach().clone().requires_grad_()
    loss = {**LOSSES, **MMDS}[name](x, y)
    assert torch.isfinite(loss)
    gradients = torch.autograd.grad(loss, (x, y), allow_unused=True)
    assert all(torch.isfinite(gradient).all() for gradient in gradients if gradient is not None)


def test_diffusion_kl_with_duplicates_in_the_data_only() -> None:
    """Two cells at diffusion distance zero, apart in the latent: costly, but finite."""
    coordinates = normal(5, 2)
    coordinates[1] = coordinates[0]
    z = normal(5, 2).requires_grad_()
    loss = diffusion_kl(z, block_distances(coordinates, 1))
    loss.backward()
    assert 0 < loss.item() < 30
    assert torch.isfinite(z.grad).all()
