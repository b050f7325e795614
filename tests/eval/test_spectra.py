"""The cheap way to eigenvalues and vectors is the plain one's equal."""

from __future__ import annotations

import numpy as np
import pytest

from velatura.eval.spectra import nuclear_norm, tridiagonal


def symmetric(width, *, rank=None):
    half = np.random.default_rng(width).standard_normal((rank or width, width))
    return half.T @ half


@pytest.mark.parametrize("width", [1, 2, 3, 128, 129, 130, 300])
def test_values_and_vectors_bring_the_matrix_back(width):
    matrix = symmetric(width)
    form = tridiagonal(matrix)
    values, vectors = form.values(), form.vectors().astype(np.float64)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix), rtol=1e-9, atol=1e-10 * matrix.max())
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(width), atol=1e-5)
    np.testing.assert_allclose((vectors * values) @ vectors.T, matrix, atol=1e-5 * values[-1])


@pytest.mark.parametrize("matrix", [np.diag([3.0, 1.0, 2.0, 2.0]), symmetric(40, rank=5), np.zeros((6, 6))])
def test_matrices_that_need_no_reflection_or_have_no_full_rank_are_safe(matrix):
    form = tridiagonal(matrix.copy())
    values, vectors = form.values(), form.vectors().astype(np.float64)
    largest = max(values[-1], 1e-300)
    np.testing.assert_allclose((vectors * values) @ vectors.T, matrix, atol=1e-5 * largest)


def test_the_nuclear_norm_is_the_sum_of_singular_values():
    matrix = np.random.default_rng(0).standard_normal((7, 30))
    assert nuclear_norm(matrix) == pytest.approx(np.linalg.svd(matrix, compute_uv=False).sum(), rel=1e-12)
