"""Augmentation beside slices and rolls of NumPy, SciPy's interpolation, and exact invariants."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from gradkit import data

N, H, W, C = 48, 6, 5, 2
X = np.random.default_rng(0).normal(size=(N, H, W, C)).astype(np.float32)
EYE = np.eye(N, dtype=np.float32)
ROWS, COLUMNS = np.mgrid[:11, :9].astype(np.float32)


@jax.jit
def everything(key, x):
    """All augmentations in one program."""
    flip, shift = data.random_flip, data.random_shift
    ramps = jnp.stack([ROWS, COLUMNS, jnp.sin(7 * ROWS + 3 * COLUMNS)], axis=-1)
    ramps = jnp.broadcast_to(ramps, (N, *ramps.shape))
    return {
        "never": flip(key, x, 0.0),
        "always": flip(key, x, 1.0),
        "vertical": flip(key, x, 1.0, axis=1),
        "twice": flip(key, flip(key, x, 1.0), 1.0),
        "flip": flip(key, x, 0.3),
        "crop": data.random_crop(key, x, (3, 4)),
        "wide shift": shift(key, x, (0, 3)),
        **{m: shift(key, x, (2, 1), mode=m) for m in ("constant", "wrap")},
        "rotation": data.random_rotation(key, ramps, 40.0, fill=0.5),
        "of integers": data.random_rotation(key, jnp.uint8(20 * ramps[:8, ..., :2]), 40.0),
        "noise": data.gaussian_noise(key, x, 0.2),
        "cutout": data.cutout(key, x, (3, 2), fill=9.0),
        "mixup": data.mixup(key, x, EYE, 0.5),
        "cutmix": data.cutmix(key, jnp.broadcast_to(EYE[:, None, None], (N, H, W, N)), EYE),
    }


@pytest.fixture(scope="module")
def found():
    return jax.tree.map(np.asarray, everything(jax.random.key(2), X))


def test_flips_mirror_or_keep_each_image(found):
    np.testing.assert_array_equal(found["never"], X)
    np.testing.assert_array_equal(found["always"], X[:, :, ::-1])
    np.testing.assert_array_equal(found["vertical"], X[:, ::-1])
    np.testing.assert_array_equal(found["twice"], X)
    flipped = (found["flip"] == X[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (flipped | (found["flip"] == X).all(axis=(1, 2, 3))).all()
    assert 0.1 < flipped.mean() < 0.5


def test_crops_are_windows_at_all_places(found):
    windows = [X[:, i : i + 3, j : j + 4] for i in range(4) for j in range(2)]
    assert_one_of(found["crop"], windows)


@pytest.mark.parametrize("mode", ["constant", "wrap"])
def test_shifts_are_windows_of_the_padded_images(found, mode):
    padded = np.pad(X, ((0, 0), (2, 2), (1, 1), (0, 0)), mode)
    shifts = [padded[:, i : i + H, j : j + W] for i in range(5) for j in range(3)]
    assert_one_of(found[mode], shifts)
    if mode == "wrap":
        rolled = [np.roll(X, (i, j), (1, 2)) for i in range(-2, 3) for j in (-1, 0, 1)]
        assert_one_of(found[mode], rolled)


def test_shifts_are_along_the_axes_that_they_are_given(found):
    padded = np.pad(X, ((0, 0), (0, 0), (3, 3), (0, 0)))
    assert_one_of(found["wide shift"], [padded[:, :, j : j + W] for j in range(7)])


def assert_one_of(images, candidates):
    """Each image is one of its candidates, and every candidate occurs."""
    same = np.stack([(images == other).all(axis=(1, 2, 3)) for other in candidates])
    assert (same.sum(axis=0) == 1).all()
    assert same.any(axis=1).all()


def test_rotations_are_those_of_scipy_by_angles_within_the_bound(found):
    angles = []
    for i, image in enumerate(found["rotation"]):
        # Interpolation is exact for the ramps, which show where the pixels come from.
        down = image[6, 4, :2] - image[5, 4, :2]
        angle = np.arctan2(down[1], down[0])
        cos, sin = np.cos(angle), np.sin(angle)
        places = [
            cos * (ROWS - 5) - sin * (COLUMNS - 4) + 5,
            sin * (ROWS - 5) + cos * (COLUMNS - 4) + 4,
        ]
        options = {"order": 1, "mode": "grid-constant", "cval": 0.5}
        planes = (ROWS, COLUMNS, np.sin(7 * ROWS + 3 * COLUMNS))
        wanted = np.stack([ndimage.map_coordinates(p, places, **options) for p in planes], -1)
        np.testing.assert_allclose(image, wanted, atol=1e-4)
        if i < 8:
            exact = 20 * wanted[..., 1]
            off = np.abs(found["of integers"][i, 2:-2, 3:-3, 1] - exact[2:-2, 3:-3])
            assert off.max() < 0.51
        angles.append(np.rad2deg(angle))
    assert 30 < max(angles) < 40.01
    assert -40.01 < min(angles) < -30
    assert abs(np.mean(angles)) < 4 * 40 / np.sqrt(3 * N)


def test_noise_has_its_deviation_and_differs_everywhere(found):
    noise = found["noise"] - X
    assert abs(noise.std() - 0.2) < 0.02
    assert abs(noise.mean()) < 0.02
    assert np.unique(noise).size > 0.99 * noise.size


def test_cutout_fills_a_rectangle_about_any_pixel(found):
    candidates = []
    for i, j in np.ndindex(H, W):
        one = X.copy()
        one[:, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 1] = 9
        candidates.append(one)
    same = np.stack([(found["cutout"] == one).all(axis=(1, 2, 3)) for one in candidates])
    assert same.any(axis=0).all()
    assert same.any(axis=1).mean() > 0.6  # of 30 pixels, in 48 draws


def test_mixup_is_the_same_mean_of_inputs_and_of_labels(found):
    x, y = found["mixup"]
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    assert ((y > 0).sum(axis=1) <= 2).all()
    assert (y >= 0).all()
    np.testing.assert_allclose(x, np.einsum("ij,jhwc->ihwc", y.astype(float), X), atol=1e-5)
    share = np.diag(y)
    assert 0.25 < share.mean() < 0.75
    assert share.std() > 0.2


def test_cutmix_mixes_labels_by_the_area_that_it_pastes(found):
    x, y = found["cutmix"]
    assert set(np.unique(x)) == {0, 1}
    np.testing.assert_allclose(x.mean(axis=(1, 2)), y, atol=1e-6)
    own = x[np.arange(N), :, :, np.arange(N)] == 1
    for image in ~own:
        rows, columns = image.any(axis=1), image.any(axis=0)
        np.testing.assert_array_equal(image, rows[:, None] & columns[None])
        assert not image.any() or np.ptp(np.flatnonzero(rows)) + 1 == rows.sum()


FUNCTIONS = {
    "flip": data.random_flip,
    "crop": partial(data.random_crop, size=3),
    "shift": partial(data.random_shift, max_shift=2),
    "rotation": partial(data.random_rotation, max_degrees=10.0),
    "cutout": partial(data.cutout, size=2),
    "cutmix": lambda key, x: data.cutmix(key, x, jnp.ones((4, 3), jnp.bfloat16))[0],
    "noise": partial(data.gaussian_noise, stddev=0.1),
    "mixup": lambda key, x: data.mixup(key, x, jnp.ones((4, 3), jnp.bfloat16))[0],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_dtypes_are_kept(name):
    for dtype in (jnp.bfloat16, jnp.float16, jnp.uint8, jnp.int32):
        x = jax.ShapeDtypeStruct((4, H, W, C), dtype)
        if name in ("noise", "mixup") and not jnp.issubdtype(dtype, jnp.floating):
            with pytest.raises(TypeError, match="Expected floating numbers"):
                jax.eval_shape(partial(FUNCTIONS[name], 0), x)
            continue
        out = jax.eval_shape(partial(FUNCTIONS[name], 0), x)
        assert out.dtype == dtype
        assert out.shape == ((4, 3, 3, C) if name == "crop" else x.shape)
    labels = jax.eval_shape(lambda x: data.mixup(0, x, jnp.ones(4, jnp.float16)), X[:4])[1]
    assert labels.dtype == jnp.float16


def test_each_augmentation_has_a_key_of_its_own():
    noise = partial(data.gaussian_noise, stddev=1.0)
    zeros = np.zeros((2, 1, 1, 1), np.float32)
    one, two = (np.asarray(data.augment(0, zeros, [noise] * n)) for n in (1, 2))
    again = np.asarray(data.augment(0, one, [lambda key, x: x, noise]))
    np.testing.assert_array_equal(again, two)  # the first draws stay
    assert (two - one != one).all()
    np.testing.assert_array_equal(data.augment(0, zeros, []), zeros)


def test_functions_of_one_image_have_a_key_for_each():
    pix = pytest.importorskip("dm_pix")
    brighter = data.per_image(partial(pix.random_brightness, max_delta=0.5))
    x = X[:4]
    delta = np.asarray(data.augment(0, x, [brighter])) - x
    np.testing.assert_allclose(delta, np.broadcast_to(delta[:, :1, :1, :1], delta.shape), atol=1e-6)
    assert np.unique(delta[:, 0, 0, 0].round(4)).size == 4


IMAGES = jnp.ones((2, 4, 4, 1))
BYTES = jnp.ones((2, 4, 4, 1), jnp.uint8)
REFUSED = [
    (
        lambda: data.random_flip(0, IMAGES[..., 0]),
        ValueError,
        "random_flip: images is float32[2, 4, 4]. Expected shape [batch, height, width, channels]. "
        "Add the axis of channels: x[..., None].",
    ),
    (
        lambda: data.cutmix(0, IMAGES[0, 0], jnp.ones(4)),
        ValueError,
        "cutmix: images is float32[4, 1]. Expected shape [batch, height, width, channels].",
    ),
    (
        lambda: data.random_crop(0, "images", 2),
        TypeError,
        "random_crop: images is str. Expected an array of real numbers.",
    ),
    (
        lambda: data.random_flip(0, IMAGES, 1.5),
        ValueError,
        "random_flip: probability=1.5 is out of range. Expected 0 <= probability <= 1.",
    ),
    (
        lambda: data.random_flip(0, IMAGES, axis=3),
        ValueError,
        "random_flip: axis=3 is not an axis of pixels. Expected 1 or 2.",
    ),
    (
        lambda: data.random_flip(None, IMAGES),
        TypeError,
        "random_flip: key is None. Expected a seed or a random key. In a training step pass "
        "jax.random.fold_in(key, step).",
    ),
    (
        lambda: data.random_crop(0, IMAGES, (4, 5)),
        ValueError,
        "random_crop: size=(4, 5) is more than the images have room for. Expected at most 4 by 4.",
    ),
    (
        lambda: data.random_shift(0, IMAGES, 4),
        ValueError,
        "random_shift: max_shift=4 is more than the images have room for. Expected at most 3 by 3.",
    ),
    (
        lambda: data.random_shift(0, IMAGES, -1),
        ValueError,
        "random_shift: max_shift=-1 is out of range. Expected an integer >= 0.",
    ),
    (
        lambda: data.random_shift(0, IMAGES, (1, 2, 3)),
        TypeError,
        "random_shift: max_shift=(1, 2, 3) is not a height and a width. Expected one integer or "
        "two.",
    ),
    (
        lambda: jax.jit(data.random_shift)(0, IMAGES, 1),
        TypeError,
        "random_shift: max_shift is traced. Expected an integer. Make it static: an int that jit "
        "does not trace.",
    ),
    (
        lambda: data.random_rotation(0, IMAGES, 200.0),
        ValueError,
        "random_rotation: max_degrees=200.0 is out of range. Expected 0 <= max_degrees <= 180.",
    ),
    (
        lambda: data.gaussian_noise(0, BYTES, 0.1),
        TypeError,
        "gaussian_noise: images is uint8[2, 4, 4, 1]. Expected floating numbers. Convert the "
        "images first: x.astype(jnp.float32) / 255.",
    ),
    (
        lambda: data.cutout(0, IMAGES, 5),
        ValueError,
        "cutout: size=5 is more than the images have room for. Expected at most 4 by 4.",
    ),
    (
        lambda: data.mixup(0, IMAGES, jnp.array([1, 2])),
        TypeError,
        "mixup: labels is int32[2]. Expected floating numbers. Of labels, pass "
        "jax.nn.one_hot(labels, num_classes).",
    ),
    (
        lambda: data.mixup(0, IMAGES, jnp.ones(3)),
        ValueError,
        "mixup: labels is float32[3] for images float32[2, 4, 4, 1]. Expected a label for each "
        "image.",
    ),
    (
        lambda: data.cutmix(0, IMAGES, jnp.ones(2), alpha=0.0),
        ValueError,
        "cutmix: alpha=0.0 is out of range. Expected alpha > 0.",
    ),
    (
        lambda: data.augment(0, IMAGES, data.random_flip),
        TypeError,
        "augment: functions=random_flip is not a list. Expected functions of a key and images.",
    ),
    (
        lambda: data.augment(0, IMAGES, [data.random_shift]),
        TypeError,
        "augment: functions[0]=random_shift cannot be called with 2 positional arguments. Expected "
        "a function of a key and images.",
    ),
    (
        lambda: data.per_image(3),
        TypeError,
        "per_image: function=3 is not a function. Expected a function of a key and an image.",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_bad_input_is_refused_with_a_message(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
