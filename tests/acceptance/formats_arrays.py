"""P1: arrays of numpy, as `prepare --from han-npy` takes them."""

import io
import shutil
import zipfile

import nibabel
import numpy as np

from format_checks import SIZE, levels
from material import fresh

IMAGE = np.ascontiguousarray((levels() * 100 - 50).T.astype(np.int16))  # z, y, x
MASK = np.ascontiguousarray((levels() == 1).T.astype(np.uint8))


def npy(values, version=None):
    """The bytes that numpy writes."""
    out = io.BytesIO()
    np.lib.format.write_array(out, values, version=version)
    return out.getvalue()


def prepared(walk, image, mask=MASK):
    """A case of this image and mask (arrays or bytes) and, so that all faults are of one case, a sound second one."""
    fresh(walk, "arrays", "made")
    for case, pixels, organ in (("odd", image, mask), ("sound", IMAGE, MASK)):
        for name, content in ((f"{case}/img_crp_v2.npy", pixels), (f"{case}/structures/BrainStem_crp_v2.npy", organ)):
            walk.write("arrays/" + name, content if isinstance(content, bytes) else npy(content))
    return ["prepare", "--from", "han-npy", "arrays", "-o", "made", "--test", "0", "--spacing", "1,2,3"]


def in_nifti(walk, image, mask):
    """What is wrong with the NIfTI files of the odd case, by nibabel: values, label, spacing."""
    folder = walk.path("made")
    read = lambda name: nibabel.load(next(folder.glob(f"{name}/*odd*")))
    found, label = read("imagesTr"), read("labelsTr")
    return [None if np.array_equal(found.get_fdata(), np.asarray(image, float).T) else "other values",
            None if np.array_equal(label.get_fdata() != 0, np.asarray(mask).T != 0) else "another label map",
            None if np.allclose(found.header.get_zooms()[:3], (1, 2, 3)) else "another spacing"]


def arrays_that_are_read(walk):
    """Orders, byte orders, versions and types: the values come back as numpy has them."""
    forms = {
        "C order": IMAGE, "Fortran order": np.asfortranarray(IMAGE), "big-endian": IMAGE.astype(">i2"),
        "big-endian in Fortran order": np.asfortranarray(IMAGE.astype(">f8")), "half floats": IMAGE.astype(np.float16),
        "big-endian halves": IMAGE.astype(">f2"), "int64": IMAGE.astype(np.int64), "uint64": (IMAGE + 50).astype(
            ">u8"), "int8": (IMAGE // 10).astype(np.int8), "float32": IMAGE.astype(np.float32) / 4,
        "a view of negative strides": IMAGE[::-1, :, ::-1], "a view of every second": np.repeat(IMAGE, 2, 1)[:, ::2],
        "bool": IMAGE > 0,
    }
    for claim, image in forms.items():
        walk.check(f"an array: {claim}", prepared(walk, image), right=lambda _: in_nifti(walk, image, MASK))
    for version in ((1, 0), (2, 0), (3, 0)):
        walk.check(f"version {version}", prepared(walk, npy(IMAGE, version)), right=lambda _: in_nifti(
            walk, IMAGE, MASK))
    for claim, mask in {"bool": MASK > 0, "255 as floats": np.asfortranarray(MASK.astype(">f4") * 255),
                        "-1": -MASK.astype(np.int8)}.items():
        walk.check(f"a mask of {claim}", prepared(walk, IMAGE, mask), code=(0, 4))


def arrays_that_are_refused(walk):
    """Objects, records, texts, other numbers of axes, and other lengths than the shape's: that case is left out."""
    plain, packed = npy(IMAGE), io.BytesIO()
    np.savez(packed, image=IMAGE)
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    z, y, x = SIZE[::-1]
    shape = f"({z}, {y}, {x})".encode()
    assert shape in plain

    def claims(text):
        """The header with another shape and the same length."""
        return plain.replace(shape + b", }", (text + ", }").encode().ljust(len(shape) + 3)) if len(text) <= len(
            shape) else plain.replace(shape + b", }" + b" " * (len(text) - len(shape)), (text + ", }").encode())

    faulty = {
        "objects": npy(IMAGE.astype(object)), "a pickle": b"\x80\x04]\x94.", "records": npy(np.zeros(
            (z, y, x), [("a", "<i2")])), "texts": npy(np.full((z, y, x), "a")), "bytes": npy(np.full((z, y, x), b"a")),
        "complex": npy(IMAGE.astype(np.complex64)), "long floats": npy(IMAGE.astype(np.longdouble)), "times": npy(
            IMAGE.astype("m8[s]")), "voids": plain.replace(b"'<i2'", b"'|V2'"), "no axes": npy(np.array(3.0)),
        "one axis": npy(IMAGE.ravel()), "four axes": npy(IMAGE[None]), "four, the last of one": npy(IMAGE[..., None]),
        "a size 0": npy(np.zeros((0, y, x))), "short": plain[:-1], "bytes behind": plain + b"\0", "a larger shape":
        claims(f"({z}, {y + 1}, {x})"), "a huge shape": claims(f"(9999999999,9999999999,{x})"), "shape beyond 2^63":
        claims(f"(99999999999999999999,1,{x})"), "negative sizes": claims(f"(-{z},{y},-{x})"),
            "a list as shape": claims(
            f"[{z}, {y}, {x}]"), "a header beyond the file": plain[:8] + b"\xff\xff" + plain[10:],
        "version 9": plain[:6] + b"\x09\0" + plain[8:], "an archive": packed.getvalue(), "an empty archive":
        empty.getvalue(), "nothing": b"", "a head": plain[:40], "nan": npy(np.where(MASK > 0, np.nan, 1)), "inf": npy(
            np.where(MASK > 0, np.inf, 1)), "bool of 2": npy(IMAGE > 0)[:-1] + b"\2", "code as header": plain.replace(
            b"'fortran_order': False", b"'fortran_order': 1 < 2"),
    }
    for claim, content in faulty.items():
        walk.check(f"an array: {claim}", prepared(walk, content), code=4, says="odd/img_crp_v2.npy", right=lambda _:
                   "wrote it" if any(walk.path("made").glob("*/*odd*")) else None)
    for claim, mask in {"three numbers": levels().T.astype(np.uint8), "another shape": MASK[:-1], "nan": np.where(
            MASK > 0, np.nan, 0.0), "objects": npy(MASK.astype(object)), "two axes": MASK[0]}.items():
        walk.check(f"a mask: {claim}", prepared(walk, IMAGE, mask), code=4, says="BrainStem_crp_v2.npy", right=lambda _:
                   "wrote it" if any(walk.path("made").glob("*/*odd*")) else None)
    shutil.rmtree(walk.path("arrays"))
    for name in ("image.npy", "image.npz"):
        path = walk.write(name, plain if name.endswith("y") else packed.getvalue())
        walk.check(f"{name} as an image", ["check", path], code=3, says=[name, "NumPy", "convert"])


LINES = {"P1": [arrays_that_are_read, arrays_that_are_refused]}
