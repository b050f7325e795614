"""Moments are exact, merge in any order, and come out of files that may be hostile."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest

from velatura.errors import InputError, UnreadableFile
from velatura.eval.moments import Moments, merged, moments_of


def features(n, width=12, *, seed=0, mean=0.0):
    generator = np.random.default_rng(seed)
    mixing = generator.standard_normal((width, width))
    return (np.abs(generator.standard_normal((n, width))) @ mixing + mean).astype(np.float32)


def test_they_are_the_mean_and_the_unbiased_covariance():
    rows = features(3000)
    moments = moments_of(rows)
    assert moments.n == 3000
    assert moments.width == 12
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(moments.covariance, np.cov(rows.astype(np.float64), rowvar=False), rtol=1e-12)
    assert moments.trace == pytest.approx(np.trace(moments.covariance), rel=1e-14)
    assert (moments.scatter == moments.scatter.T).all()


def test_a_mean_far_from_zero_costs_no_digits():
    rows = features(2500).astype(np.float64)
    near, far = moments_of(rows), moments_of(rows + 2.0**24)
    np.testing.assert_allclose(far.covariance, near.covariance, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("cuts", [(1,), (1024,), (7, 8, 1500), (0, 2600)])
def test_they_do_not_depend_on_how_the_features_come(cuts):
    rows = features(2600, mean=3)
    whole = moments_of(rows)
    parts = [moments_of(part) for part in np.split(rows, cuts)]
    for order in (parts, parts[::-1]):
        together = merged(order)
        assert together.n == whole.n
        np.testing.assert_allclose(together.mean, whole.mean, rtol=1e-12)
        np.testing.assert_allclose(together.scatter, whole.scatter, rtol=1e-10, atol=1e-9)


def test_what_cannot_be_merged_is_said():
    with pytest.raises(InputError, match="12 and of 5"):
        moments_of(features(20)).merge(moments_of(features(20, 5)))
    unknown = Moments(n=None, mean=np.zeros(12), scatter=np.eye(12))
    with pytest.raises(InputError, match="unknown number"):
        unknown.merge(moments_of(features(20)))
    with pytest.raises(InputError, match="no moments"):
        merged([])


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_features_that_are_not_finite_are_refused(bad):
    rows = features(1500)
    rows[1400, 3] = bad
    with np.errstate(all="ignore"), pytest.raises(InputError, match="not finite"):
        moments_of(rows)


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((3, 0)), np.array([["a", "b"]]), np.zeros((2, 2), complex)])
def test_what_is_no_table_of_numbers_is_refused(bad):
    with pytest.raises(InputError):
        moments_of(bad)


def test_one_picture_has_no_covariance():
    with pytest.raises(InputError, match="two pictures at least, and there are 1"):
        moments_of(features(1)).covariance  # noqa: B018


def test_a_file_keeps_them(tmp_path):
    moments = moments_of(features(40))
    moments.save(tmp_path / "new" / "stats")
    again = Moments.load(tmp_path / "new" / "stats")
    assert again.n == 40
    np.testing.assert_array_equal(again.mean, moments.mean)
    np.testing.assert_allclose(again.scatter, moments.scatter, rtol=1e-14)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["stats"]


def test_a_file_of_clean_fid_does_not_tell_the_number(tmp_path):
    moments = moments_of(features(40))
    np.savez_compressed(tmp_path / "theirs.npz", mu=moments.mean, sigma=moments.covariance)
    again = Moments.load(tmp_path / "theirs.npz")
    assert again.n is None
    np.testing.assert_array_equal(again.covariance, moments.covariance)
    assert again.trace == pytest.approx(moments.trace)
    again.save(tmp_path / "ours.npz")
    assert Moments.load(tmp_path / "ours.npz").n is None


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            if isinstance(content, np.ndarray):
                buffer = io.BytesIO()
                np.save(buffer, content)
                content = buffer.getvalue()
            file.writestr(f"{name}.npy", content)
    return path


def lying(shape):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return buffer.getvalue() + bytes(64)


def pickled():
    class Trap:
        def __reduce__(self):
            raise AssertionError("it was pickled")

    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|O", "fortran_order": False, "shape": (2,)})
    return buffer.getvalue() + pickle.dumps([print, print])


GOOD = np.eye(2)

HOSTILE = {
    "no sigma": {"mu": np.zeros(2)},
    "no mu": {"sigma": GOOD},
    "a pickle": {"mu": pickled(), "sigma": GOOD},
    "a huge header": {"mu": lying((10**12,)), "sigma": GOOD},
    "a header of another size": {"mu": np.zeros(2), "sigma": lying((2000, 2000))},
    "a negative side": {"mu": lying((-2,)), "sigma": GOOD},
    "too wide": {"mu": np.zeros(9000), "sigma": GOOD},
    "another shape": {"mu": np.zeros(3), "sigma": GOOD},
    "a cube": {"mu": np.zeros(2), "sigma": np.zeros((2, 2, 2))},
    "words": {"mu": np.array(["a", "b"]), "sigma": GOOD},
    "complex": {"mu": np.zeros(2), "sigma": GOOD * 1j},
    "not finite": {"mu": np.array([0, np.nan]), "sigma": GOOD},
    "not symmetric": {"mu": np.zeros(2), "sigma": np.array([[1, 0.5], [0, 1]])},
    "a negative variance": {"mu": np.zeros(2), "sigma": np.diag([1.0, -1.0])},
    "no array": {"mu": b"hello", "sigma": GOOD},
    "a bad count": {"mu": np.zeros(2), "sigma": GOOD, "n": np.array(-5)},
    "half a picture": {"mu": np.zeros(2), "sigma": GOOD, "n": np.array(7.5)},
    "many counts": {"mu": np.zeros(2), "sigma": GOOD, "n": np.array([5, 6])},
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_in_one_sentence(tmp_path, members):
    path = archive(tmp_path / "bad.npz", **members)
    with pytest.raises(UnreadableFile) as told:
        Moments.load(path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def test_a_file_that_is_cut_or_of_another_kind_is_refused(tmp_path):
    path = archive(tmp_path / "good.npz", mu=np.zeros(2), sigma=GOOD)
    content = path.read_bytes()
    for number, bad in enumerate((content[:-30], b"", b"PK\x03\x04" + bytes(50))):
        (tmp_path / f"{number}.npz").write_bytes(bad)
        with pytest.raises(UnreadableFile):
            Moments.load(tmp_path / f"{number}.npz")
    with pytest.raises(UnreadableFile, match="cannot be read"):
        Moments.load(tmp_path / "none.npz")
