from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from scdart.module._sparse import PriorLinear, PriorLinks, SparseLinear, sparse_linear
from scdart.module._transforms import binarize, log_normalize, scale_by_batch, tfidf

torch.set_num_threads(1)


@pytest.fixture
def counts() -> torch.Tensor:
    """Counts of 12 cells, 30 peaks, a fifth of them open; one cell and one peak are empty."""
    generator = torch.Generator().manual_seed(0)
    x = torch.poisson(torch.full((12, 30), 0.25), generator=generator)
    x[4], x[:, 7] = 0, 0
    return x


@pytest.fixture
def prior() -> sparse.csr_matrix:
    """Prior of 30 peaks x 5 genes, with peaks of no, one and several links."""
    matrix = sparse.random(30, 5, density=0.2, format="csr", dtype=np.float32, random_state=1)
    assert set(np.diff(matrix.indptr)) >= {0, 1, 2}
    return matrix


def make_prior_linear(prior: sparse.csr_matrix) -> PriorLinear:
    layer = PriorLinear(*prior.shape, prior.nnz)
    layer.set_prior(prior)
    return layer


@pytest.mark.parametrize("index_dtype", [torch.int32, torch.int64])
def test_sparse_linear_is_the_dense_product(counts: torch.Tensor, index_dtype: torch.dtype) -> None:
    csr = counts.to_sparse_csr()
    csr = torch.sparse_csr_tensor(
        csr.crow_indices().to(index_dtype),
        csr.col_indices().to(index_dtype),
        csr.values(),
        csr.shape,
        check_invariants=True,
    )
    results = []
    for x in (counts, csr):
        torch.manual_seed(0)
        layer = SparseLinear(30, 4)
        y = layer(x)
        y.square().sum().backward()
        results.append((y, layer.weight.grad, layer.bias.grad))
    np.testing.assert_allclose(
        results[0][0].detach(), counts.numpy() @ layer.weight.detach().numpy() + layer.bias.detach().numpy(), atol=1e-5
    )
    for dense, from_csr in zip(*results, strict=True):
        torch.testing.assert_close(from_csr, dense, atol=1e-5, rtol=1e-5)


def test_sparse_linear_gradients(counts: torch.Tensor) -> None:
    x = counts.double().to_sparse_csr()
    weight = torch.randn(30, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda weight, bias: sparse_linear(x, weight, bias), (weight, bias))


def test_gradient_for_dense_input(counts: torch.Tensor, prior: sparse.csr_matrix) -> None:
    x = counts.clone().requires_grad_()
    layer, prior_layer = SparseLinear(30, 4), make_prior_linear(prior)
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.sum(dim=1).expand_as(x))
    x.grad = None
    prior_layer(x).sum().backward()
    np.testing.assert_allclose(x.grad[0], np.asarray(prior.sum(axis=1)).ravel(), rtol=1e-6)


def test_other_layouts_are_refused(counts: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"sparse_coo.*to_sparse_csr"):
        log_normalize(counts.to_sparse_coo())


@pytest.mark.parametrize("layout", ["dense", "csr"])
def test_prior_linear_is_the_masked_product(counts: torch.Tensor, prior: sparse.csr_matrix, layout: str) -> None:
    layer = make_prior_linear(prior)
    with torch.no_grad():
        layer.bias.copy_(torch.arange(5.0))
    y = layer(counts if layout == "dense" else counts.to_sparse_csr())
    np.testing.assert_allclose(y.detach(), counts.numpy() @ prior.toarray() + np.arange(5), rtol=1e-5)

    target = torch.randn(12, 5)
    (y * target).sum().backward()
    peaks, genes = prior.nonzero()
    np.testing.assert_allclose(layer.weight.grad, (counts.numpy().T @ target.numpy())[peaks, genes], atol=1e-5)
    torch.testing.assert_close(layer.bias.grad, target.sum(dim=0))


def test_prior_linear_gradients(counts: torch.Tensor, prior: sparse.csr_matrix) -> None:
    layer = make_prior_linear(prior).double()
    x = counts.double().to_sparse_csr()

    def run(weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(run, (layer.weight, layer.bias))


def test_prior_linear_standardize(counts: torch.Tensor, prior: sparse.csr_matrix) -> None:
    layer = make_prior_linear(prior)
    y = layer(counts).detach()
    layer.standardize(y.mean(dim=0), y.std(dim=0))
    z = layer(counts).detach()
    np.testing.assert_allclose(z, (y - y.mean(dim=0)) / y.std(dim=0), atol=1e-5)
    layer.standardize(z.mean(dim=0), z.std(dim=0), scale=0.1)
    np.testing.assert_allclose(layer(counts).detach(), 0.1 * z, atol=1e-5)


def test_prior_linear_standardize_without_spread(prior: sparse.csr_matrix) -> None:
    """A gene that no peak reaches is centred and nothing else."""
    layer = make_prior_linear(prior)
    layer.standardize(torch.full((5,), 2.0), torch.zeros(5))
    np.testing.assert_array_equal(layer.weight.detach(), prior.data)
    np.testing.assert_array_equal(layer.bias.detach(), -2)


def test_prior_is_rebuilt_from_the_state_dict(counts: torch.Tensor, prior: sparse.csr_matrix) -> None:
    layer = make_prior_linear(prior)
    rebuilt = PriorLinear(*prior.shape, prior.nnz)
    rebuilt.load_state_dict(layer.state_dict())
    assert torch.equal(rebuilt(counts.to_sparse_csr()), layer(counts.to_sparse_csr()))


def test_links_of_peaks(prior: sparse.csr_matrix) -> None:
    links = PriorLinks(*prior.shape, prior.nnz)
    links.set_prior(prior)
    peaks = np.array([7, 2, 2, 29, 0])
    position, link = links.of_peaks(torch.as_tensor(peaks))
    rows, genes = prior[peaks].nonzero()
    np.testing.assert_array_equal(position, rows)
    np.testing.assert_array_equal(links.genes[link], genes)


def test_prior_of_another_shape_or_size_is_refused(prior: sparse.csr_matrix) -> None:
    with pytest.raises(ValueError, match=r"\(5, 30\).*expected \(n_peaks, n_genes\) = \(30, 5\)"):
        PriorLinks(30, 5, prior.nnz).set_prior(prior.T.tocsr())
    with pytest.raises(ValueError, match=rf"{prior.nnz} links.*and 1 links"):
        PriorLinks(30, 5, 1).set_prior(prior)


def test_normalisation_dense_and_csr(counts: torch.Tensor) -> None:
    x = counts.numpy()
    library = np.maximum(x.sum(axis=1, keepdims=True), 1)
    log_normalized = np.log1p(100 * x / library)
    idf = np.log1p(len(x) / np.maximum(x.sum(axis=0), 1)).astype(np.float32)
    expected = [
        (log_normalize(counts, 100), log_normalize(counts.to_sparse_csr(), 100), log_normalized),
        (
            tfidf(counts, torch.as_tensor(idf), 100),
            tfidf(counts.to_sparse_csr(), torch.as_tensor(idf), 100),
            log_normalized * idf,
        ),
        (binarize(counts), binarize(counts.to_sparse_csr()), x > 0),
    ]
    for dense, csr, reference in expected:
        assert csr.layout is torch.sparse_csr
        assert csr.values().numel() == (x != 0).sum()
        np.testing.assert_allclose(dense, reference, rtol=1e-5)
        np.testing.assert_allclose(csr.to_dense(), reference, rtol=1e-5)


def test_normalisation_leaves_its_input_alone(counts: torch.Tensor) -> None:
    csr = counts.to_sparse_csr()
    before = csr.values().clone()
    log_normalize(csr)
    tfidf(csr, torch.full((30,), 2.0))
    assert torch.equal(csr.values(), before)


def test_values_are_scaled_by_the_batch_of_their_cell(counts: torch.Tensor) -> None:
    factors, batch = torch.rand(3, counts.shape[1]), torch.arange(len(counts)) % 3
    expected = counts * factors[batch]
    torch.testing.assert_close(scale_by_batch(counts, factors, batch), expected)
    torch.testing.assert_close(scale_by_batch(counts.to_sparse_csr(), factors, batch).to_dense(), expected)
