"""N1 to N4: NIfTI files that standard writers, old writers and broken ones leave."""

import gzip
import struct

import nibabel
import numpy as np

import volumes
from format_checks import LEVEL, OBLIQUE, is_read, is_refused, levels, stored
from silence_geometry import geometry_is

RAS = volumes.RAS_TO_LPS @ OBLIQUE


def image_bytes(values, kind=nibabel.Nifti1Image, endian="<"):
    """A file by nibabel, big-endian if asked for."""
    header = kind.header_class(endianness=endian)
    header.set_data_dtype(values.dtype)
    header.set_xyzt_units("mm")
    return kind(values, RAS, header).to_bytes()


def patched(content, at, kind, *values, order="<"):
    """The content with these numbers at a byte offset."""
    changed = bytearray(content)
    struct.pack_into(order + kind, changed, at, *values)
    return bytes(changed)


def other_reader(path, scale=1):
    """None if nibabel reads the levels at the places that the walk expects."""
    image = nibabel.load(path)
    values = np.squeeze(np.asanyarray(image.dataobj)).astype(float)
    right = np.allclose(values, levels() * LEVEL * scale) and np.allclose(image.affine, RAS, atol=1e-4)
    return None if right else "nibabel reads otherwise"


def types_and_versions(walk):
    """Every number type, both versions, both byte orders, packed and not."""
    for kind, word in ((nibabel.Nifti1Image, "NIfTI-1"), (nibabel.Nifti2Image, "NIfTI-2")):
        for dtype in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"):
            # One byte holds no 300: the levels are stored by 40 and scaled.
            for endian in "<>":
                small = dtype in ("int8", "uint8")
                values = (levels() * (40 if small else LEVEL)).astype(dtype)
                content = image_bytes(values, kind, endian)
                if small:
                    at, code = ((112, "2f") if kind is nibabel.Nifti1Image else (176, "2d"))
                    content = patched(content, at, code, 2.5, 0, order=endian)
                name, packed = ("t.nii", content) if endian == "<" else ("t.nii.gz", gzip.compress(content))
                path = walk.write(name, packed)
                is_read(walk, f"{word} {dtype} {endian}", path)
                walk.claim("nibabel agrees", walk.run(["--version"]), lambda _: other_reader(path))


def types_that_are_no_numbers(walk):
    """Complex numbers, colours, long floats and single bits: refused, with the kind."""
    colour = np.zeros(volumes.step_volume().shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    alpha = np.zeros(volumes.step_volume().shape, [(c, "u1") for c in "RGBA"])
    plain = image_bytes(stored())
    for claim, content, says in [
            ("complex64", nibabel.Nifti1Image(stored("complex64"), RAS).to_bytes(), "complex"),
            ("complex128", nibabel.Nifti1Image(stored("complex128"), RAS).to_bytes(), "complex"),
            ("RGB", nibabel.Nifti1Image(colour, RAS).to_bytes(), "RGB"),
            ("RGBA", nibabel.Nifti1Image(alpha, RAS).to_bytes(), "RGBA"),
            ("float128", patched(plain, 70, "2h", 1536, 128), "128-bit"),
            ("single bits", patched(plain, 70, "2h", 1, 1), "bits"),
            ("type 0", patched(plain, 70, "2h", 0, 16), "datatype 0"),
            ("type 255", patched(plain, 70, "2h", 255, 16), "datatype 255"),
            ("bitpix of another type", patched(plain, 70, "2h", 4, 32), "bitpix"),
            ("bitpix 0", patched(plain, 70, "2h", 4, 0), "bitpix")]:
        is_refused(walk, claim, walk.write("t.nii", content), says=says)
    for dtype, value in (("int64", 2**40), ("uint64", 2**63), ("int64", -(2**62))):
        values = stored(dtype)
        values[1, 2, 3] = value
        path = walk.write("t.nii", image_bytes(values))
        walk.check(f"{dtype} of {value}", ["check", path, "--json"], right=lambda r: None if np.allclose(
            r.json["case_facts"][0]["value_range"], [values.min(), values.max()], rtol=1e-6) else "another range")


def dimensions(walk):
    """Axes of a single sample change nothing; numbers that cannot be are refused."""
    plain = image_bytes(stored())
    for claim, dim in {"four": (4, 8, 7, 6, 1), "five": (5, 8, 7, 6, 1, 1), "seven": (7, 8, 7, 6, 1, 1, 1, 1),
                       "what stands behind dim[0]": (3, 8, 7, 6, 0, -5, 9, 9)}.items():
        path = walk.write("t.nii", patched(plain, 40, f"{len(dim)}h", *dim))
        is_read(walk, f"dim {claim}", path)
    for claim, dim in {"0": (0, 8), "8": (8, 8), "-1": (-1, 8), "of another byte order": (768, 8), "1": (1, 8, 7, 6),
                       "2": (2, 8, 7, 6), "with a 0": (3, 8, 0, 6), "with a -7": (3, 8, -7, 6),
                       "with two times": (4, 8, 7, 6, 2), "larger than the file": (3, 8, 7, 7),
                       "smaller than the file": (3, 8, 7, 5), "beyond": (3, 32767, 32767, 32767),
                       "beyond 2^63": (7, *[32767] * 7), "seven of two": (7, 2, 2, 2, 2, 2, 2, 2)}.items():
        is_refused(walk, f"dim {claim}", walk.write("t.nii", patched(plain, 40, f"{len(dim)}h", *dim)))
        is_refused(walk, f"dim {claim}, packed", walk.write("t.nii.gz", gzip.compress(
            patched(plain, 40, f"{len(dim)}h", *dim))))
    second = image_bytes(stored(), nibabel.Nifti2Image)
    for claim, dim in {"2^62": (3, 2**62, 7, 6), "2^31": (3, 2**31, 2**31, 1), "-1": (3, -1, 7, 6),
                       "rank 2^40": (2**40, 8, 7, 6)}.items():
        is_refused(walk, f"NIfTI-2 dim {claim}", walk.write("t.nii", patched(second, 16, f"{len(dim)}q", *dim)))
    both = np.stack([levels() * LEVEL, levels(seed=9) * LEVEL], -1).astype("float32")
    for name, shape, size in (("time", both, 2), ("vector", both[:, :, :, None, :], 2)):
        image = nibabel.Nifti1Image(shape, RAS)
        if name == "vector":
            image.header.set_intent("vector")
        path = walk.write("t.nii", image.to_bytes())
        walk.check(f"channels along {name}", ["check", path, "--json"], right=lambda r: None if r.json["case_facts"][0][
            "channels"] == size else "another number")
    image = nibabel.Nifti1Image(np.zeros((8, 7, 6, 2, 3), "float32"), RAS)
    is_refused(walk, "vectors over time", walk.write("t.nii", image.to_bytes()), says="four dimensions")


def offsets_and_extensions(walk):
    """Voxels lie where vox_offset says, behind extensions of any order, and nowhere else."""
    plain = image_bytes(stored())
    for endian in "<>":
        content = image_bytes(stored(), endian=endian)
        for claim, extension in {"comment": struct.pack(endian + "2i", 32, 6) + b"a" * 24,
                                 "two": struct.pack(endian + "2i", 16, 4) + b"b" * 8 +
                                 struct.pack(endian + "2i", 48, 44) + b"c" * 40,
                                 "padding": bytes(160)}.items():
            data = content[:348] + (b"\1" if claim != "padding" else b"\0") + bytes(3) + extension + content[352:]
            data = patched(data, 108, "f", 352 + len(extension), order=endian)
            is_read(walk, f"{claim} {endian}", walk.write("t.nii", data))
            is_read(walk, f"{claim} {endian}, packed", walk.write("t.nii.gz", gzip.compress(data)))
    long_text = nibabel.Nifti1Image(stored(), RAS)
    long_text.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 300_000))
    is_read(walk, "a comment of 300 kB", walk.write("t.nii.gz", gzip.compress(long_text.to_bytes())))
    for claim, offset in {"344": 344, "351": 351, "0": 0, "nan": np.nan, "1e9": 1e9, "inf": np.inf, "-352": -352,
                          "352.5": 352.5, "354 with too few bytes": 354}.items():
        is_refused(walk, f"vox_offset {claim}", walk.write("t.nii", patched(plain, 108, "f", offset)))
    for claim, head in {"huge": (2**31 - 1, 6), "across the voxels": (400, 6)}.items():
        data = plain[:348] + b"\1\0\0\0" + struct.pack("<2i", *head) + b"a" * 24 + plain[352:]
        is_refused(walk, f"an extension that is {claim}", walk.write("t.nii", patched(data, 108, "f", 384)))
    second = image_bytes(stored(), nibabel.Nifti2Image)
    for offset in (-1, 0, 352, 2**62):
        is_refused(walk, f"NIfTI-2 vox_offset {offset}", walk.write("t.nii", patched(second, 168, "q", offset)))


def scales_and_units(walk):
    """Infinite slopes scale nothing, as in other readers; units of length, and those that are none."""
    plain = image_bytes(stored())
    for slope, intercept in ((np.inf, 0), (-np.inf, 5), (1e-42, 0), (1e38, 1e38), (1, np.nan), (2, np.inf)):
        path = walk.write("t.nii", patched(plain, 112, "2f", slope, intercept))
        if np.isinf(slope):
            is_read(walk, f"slope {slope}", path)
        elif not np.isfinite(intercept) or slope > 1e30:
            is_refused(walk, f"slope {slope}, intercept {intercept}", path)
        else:
            other = nibabel.load(path).get_fdata()
            walk.check(f"slope {slope}", ["check", path, "--json"], right=lambda r: None if np.allclose(
                r.json["case_facts"][0]["value_range"], [other.min(), other.max()], atol=1e-44) else "another range")
    for code, factor in ((1, 1000), (3, 0.001)):
        data = patched(patched(plain, 123, "B", code), 80, "3f", *(np.array([1.5, 2, 3]) / factor))
        matrix = RAS.copy()
        matrix[:3] /= factor
        placed(walk, f"units {code}", patched(data, 280, "12f", *matrix[:3].ravel()), OBLIQUE)
    for code in (0, 2 | 8, 2 | 16, 2 | 32):
        is_read(walk, f"units {code}", walk.write("t.nii", patched(plain, 123, "B", code)))
    for code in (4, 5, 6, 7):
        is_read(walk, f"a unit {code} that is none", walk.write("t.nii", patched(plain, 123, "B", code)),
            says="warning")
    for axis in (1, 2, 3):
        for size in (0, -1.5, np.nan, np.inf):
            is_refused(walk, f"pixdim[{axis}] {size}", walk.write("t.nii", patched(plain, 76 + 4 * axis, "f", size)))
    only_qform = patched(patched(plain, 254, "h", 0), 252, "h", 1)
    is_read(walk, "only a qform", walk.write("t.nii", only_qform))
    is_read(walk, "qfac 0", walk.write("t.nii", patched(only_qform, 76, "f", 0)) if struct.unpack_from(
        "<f", plain, 76)[0] == 1 else walk.write("t.nii", only_qform))
    straight = volumes.RAS_TO_LPS @ volumes.affine((1.5, 2, 3))
    for codes in ((-1, -1), (0, -3)):
        placed(walk, f"codes {codes}: no form", patched(plain, 252, "2h", *codes), straight, says="no orientation")
    placed(walk, "sform code 700", patched(plain, 252, "2h", 0, 700), OBLIQUE)


def placed(walk, claim, content, matrix, says=None):
    """`check` gives the place that the matrix does, where nibabel knows no such code or unit."""
    path = walk.write("t.nii", content)
    walk.check(claim, ["check", path, "--json"], says=says, right=lambda result: geometry_is(result, matrix))


LINES = {"N1": [types_and_versions, types_that_are_no_numbers], "N2": [dimensions], "N3": [offsets_and_extensions],
         "N4": [scales_and_units]}
