"""What the walk through the formats shares: a volume of known levels, and how a file of it is judged.

A file is either read, and then the label map of a model with known thresholds shows every voxel's level at its place,
or it is refused in one line that names the file and a way out, with nothing written.
"""

import numpy as np
import SimpleITK

import known_models
import volumes
from material import fresh

SIZE = (8, 7, 6)
LEVEL = 100  # the distance of two levels, as stored
TURN = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
OBLIQUE = volumes.affine((1.5, 2, 3), (-11, 7, 5), TURN)  # voxel -> LPS


def levels(size=SIZE, seed=3):
    """Levels 0 to 3 at random, x, y, z: no flip, no exchange of axes and no shift leaves it as it is."""
    return np.random.default_rng(seed).integers(0, 4, size)


def stored(dtype="int16", size=SIZE):
    """The levels as they are stored."""
    return (levels(size) * LEVEL).astype(dtype)


def prepare(walk):
    """The model that marks each level with its number."""
    names = ["background", "one", "two", "three"]
    walk.write("levels.safetensors", known_models.threshold_model([50, 150, 250], names))


def rows_of(found, matrix):
    """x, y, z (mm, LPS) and level of each voxel above level 0, sorted: a volume without an order of axes."""
    where = np.argwhere(found > 0)
    places = np.round(where @ matrix[:3, :3].T + matrix[:3, 3], 2) + 0.0
    rows = np.column_stack([places, found[found > 0]])
    return rows[np.lexsort(rows.T)]


def same_levels(path, wanted, matrix):
    """What is wrong with a label map: None if each voxel's level lies at its place."""
    found, expected = rows_of(*volumes.read_lps(path)), rows_of(wanted, matrix)
    if found.shape != expected.shape:
        return f"{len(found)} voxels above level 0 instead of {len(expected)}"
    return None if np.allclose(found, expected, atol=0.02) else "other levels or places"


def is_read(walk, claim, path, matrix=OBLIQUE, wanted=None, says=None, options=(), **check):
    """`segment` shows the levels at the places that the matrix (voxel -> LPS) gives."""
    out = fresh(walk, "out")
    wanted = levels() if wanted is None else wanted
    walk.check(claim, ["segment", "-m", "levels.safetensors", "-i", path, "-o", out, "--format", "nii.gz", *options],
               says=says, right=lambda _: same_levels(next(out.glob("*.nii.gz")), wanted, matrix), **check)


def is_refused(walk, claim, path, says=None, named=None, code=3, **check):
    """`check` and `segment` refuse it in one short line that names the file; no label map is written."""
    out = fresh(walk, "out")
    named = path.name if named is None else named
    told = [named, *([says] if isinstance(says, str) else says or [])]
    walk.check(f"check: {claim}", ["check", path], code=3, says=told, **check)
    walk.check(f"segment: {claim}", ["segment", "-m", "levels.safetensors", "-i", path, "-o", out], code=code,
               says=told, right=lambda result: [
                   "wrote a label map" if any(out.glob("*.nii*")) else None,
                   "the way out is missing" if not has_way_out(result.last) else None,
                   "it is longer than 600 characters" if len(result.last) > 600 else None], **check)


def has_way_out(line):
    """Does an error say what to do? Behind the last ';' or in parentheses at its end stands an order."""
    return any(word in line for word in ("; ", "get the file again", "convert", "save", "correct", "export"))


def itk_agrees(path, wanted, matrix):
    """What SimpleITK says of a file: None if it has these levels at these places."""
    image = SimpleITK.ReadImage(str(path))
    values = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
    axes = np.eye(4)
    axes[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) @ np.diag(image.GetSpacing())
    axes[:3, 3] = image.GetOrigin()
    found, expected = rows_of(np.round(values / LEVEL).astype(int), axes), rows_of(wanted, matrix)
    return None if found.shape == expected.shape and np.allclose(found, expected, atol=0.02) else \
        "SimpleITK reads other levels or places"
