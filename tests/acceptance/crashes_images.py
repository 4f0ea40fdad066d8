"""B10 and B11: headers and DICOM elements that once ended the whole program inside a library."""

import random
import shutil

import numpy as np
from volumes import meta_bytes, nrrd_bytes, step_volume, write_series

LEFT = ["space: left-posterior-superior", "space directions: (1,0,0) (0,1,0) (0,0,1)", "space origin: (0,0,0)"]
# Explicit VR little endian: the element's tag as it lies in the file, and its VR by the standard.
ELEMENTS = {"Rows": (b"\x28\x00\x10\x00", b"US"), "Columns": (b"\x28\x00\x11\x00", b"US"),
            "BitsAllocated": (b"\x28\x00\x00\x01", b"US"), "BitsStored": (b"\x28\x00\x01\x01", b"US"),
            "HighBit": (b"\x28\x00\x02\x01", b"US"), "PixelRepresentation": (b"\x28\x00\x03\x01", b"US"),
            "SamplesPerPixel": (b"\x28\x00\x02\x00", b"US"), "PixelSpacing": (b"\x28\x00\x30\x00", b"DS"),
            "ImagePositionPatient": (b"\x20\x00\x32\x00", b"DS"),
            "ImageOrientationPatient": (b"\x20\x00\x37\x00", b"DS"), "RescaleSlope": (b"\x28\x00\x53\x10", b"DS"),
            "RescaleIntercept": (b"\x28\x00\x52\x10", b"DS"), "SeriesInstanceUID": (b"\x20\x00\x0e\x00", b"UI"),
            "PhotometricInterpretation": (b"\x28\x00\x04\x00", b"CS"), "InstanceNumber": (b"\x20\x00\x13\x00", b"IS")}


def odd_lines():
    """Header lines that no writer makes: name -> bytes."""
    lines = {f"a field name of {n} characters": b"F" * n + b" = 1" for n in (254, 255, 256, 257, 511, 4096, 100_000)}
    lines |= {f"a value of {n} characters": b"Comment = " + b"v" * n for n in (255, 256, 1023, 1024, 40_000, 1_000_000)}
    lines |= {"no equals sign": b"Comment", "nothing before it": b"= 5", "only spaces": b" " * 300,
              "zeros": b"Com\0ment = \0", "binary": bytes(range(128, 256)), "a carriage return": b"Comment = a\rb",
              "the size twice": b"DimSize = 20 18 16", "NDims twice": b"NDims = 200", "no dimensions": b"NDims = 0",
              "65 dimensions": b"NDims = 65", "many spacings": b"ElementSpacing = " + b"1 " * 5000,
              "a matrix of one": b"TransformMatrix = 1", "nan": b"Offset = nan inf 0", "hex": b"Offset = 0x1p9 0 0"}
    return lines


def odd_header_lines_end_no_batch(walk):
    """Each odd MetaImage header, alone and beside a good image: an error of that file, and the other is written."""
    volume = step_volume()
    for place, (kind, line) in enumerate(odd_lines().items()):
        file = walk.write(f"meta/odd{place}/bad.mha", meta_bytes(volume).replace(b"NDims = 3\n", b"NDims = 3\n" + line
                                                                                 + b"\n"))
        walk.write(f"meta/odd{place}/good.mha", meta_bytes(volume))
        maps = walk.path(f"meta/maps{place}")
        walk.check(kind, ["check", file], code=(0, 3))
        walk.check(f"{kind}, in a batch", ["segment", "-m", "run", "-i", file.parent, "-o", maps], code=(0, 4),
                   right=lambda _: None if (maps / "good.nii.gz").exists() else "good.mha was not written")


def odd_nrrd_lines_end_no_batch(walk):
    """The same for NRRD."""
    for kind, line in {"a long field": b"f" * 100_000 + b": 1", "a long value": b"content: " + b"v" * 1_000_000,
                       "a long key": b"k" * 70_000 + b":=v", "zeros": b"con\0tent: \0", "no colon": b"content",
                       "many sizes": b"sizes: " + b"2 " * 5000, "a dimension": b"dimension: 70000",
                       "no number": b"sizes: a b c", "units": b'space units: "mm" "mm"', "a skip": b"byte skip: -1",
                       "an encoding": b"encoding: bzip2", "kinds": b"kinds: domain domain domain domain"}.items():
        content = nrrd_bytes(step_volume(), LEFT).replace(b"dimension: 3\n", b"dimension: 3\n" + line + b"\n")
        walk.check(f"NRRD: {kind}", ["check", walk.write("odd.nrrd", content)], code=(0, 3))


def cut_headers_are_refused(walk):
    """Headers that end early, at every kind of place."""
    for name, content in [("cut.mha", meta_bytes(step_volume())), ("cut.nrrd", nrrd_bytes(step_volume(), LEFT))]:
        for length in (0, 1, 4, 10, 50, 100, 150, 200, len(content) - 1):
            walk.check(f"{length} bytes of {name}", ["check", walk.write(name, content[:length])], code=3, says=name)


def types_of_elements_are_the_standards(walk):
    """The VR of each element that is used, changed to each other kind: an error of that file, never an abort."""
    values = step_volume((12, 10, 5))
    for name, (tag, vr) in ELEMENTS.items():
        for other in (b"SS", b"FD", b"SQ", b"ZZ"):
            if other == vr:
                continue
            folder = walk.path("vr")
            shutil.rmtree(folder, ignore_errors=True)
            write_series(folder, values)
            file = folder / "slice02.dcm"
            content = file.read_bytes()
            file.write_bytes(content.replace(tag + vr, tag + other))
            walk.check(f"{name} as {other.decode()}", ["check", folder], code=(0, 3) if name == "InstanceNumber" else 3,
                       says=[] if name == "InstanceNumber" else "slice02.dcm")


def damaged_slices_end_no_batch(walk):
    """Random bytes changed in one slice: the series is read or refused, and the other image is written."""
    draw = random.Random(11)
    values = step_volume((12, 10, 5))
    for attempt in range(25):
        folder = walk.path(f"damaged/{attempt}/series")
        write_series(folder, values)
        file = folder / "slice01.dcm"
        content = bytearray(file.read_bytes())
        for _ in range(draw.choice((1, 3, 20))):
            content[draw.randrange(len(content) - values[:, :, 0].nbytes)] = draw.randrange(256)
        file.write_bytes(bytes(content))
        walk.write(f"damaged/{attempt}/good.mha", meta_bytes(step_volume()))
        maps = walk.path(f"damaged/maps{attempt}")
        walk.check("a damaged slice", ["segment", "-m", "run", "-i", folder.parent, "-o", maps], code=(0, 3, 4),
                   right=lambda _: None if (maps / "good.nii.gz").exists() else "good.mha was not written")


def values_of_elements_are_judged(walk):
    """Elements that say what cannot be: one line that names the slice."""
    values = step_volume((12, 10, 5))
    for elements in [{"Rows": 0}, {"Rows": 65535}, {"Columns": 1}, {"BitsAllocated": 1}, {"BitsAllocated": 64},
                     {"BitsStored": 17}, {"BitsStored": 0}, {"HighBit": 3}, {"SamplesPerPixel": 3},
                     {"PixelRepresentation": 7}, {"PixelSpacing": [0, 1]}, {"PixelSpacing": [-1, 1]},
                     {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
                     {"NumberOfFrames": 3}, {"PixelData": b""}, {"PixelData": b"\0\0"},
                     {"PhotometricInterpretation": "RGB"}]:
        folder = walk.path("odd_values")
        shutil.rmtree(folder, ignore_errors=True)
        write_series(folder, values, **elements)
        walk.check(f"{elements}", ["check", folder], code=3, says="odd_values")
    folder = write_series(walk.path("fine_values"), values)
    walk.check("a sound series", ["check", folder, "--json"], right=lambda result: None if result.json["case_facts"][0][
        "value_range"] == [int(np.min(values)), int(np.max(values))] else "other values")


LINES = {"B10": [odd_header_lines_end_no_batch, odd_nrrd_lines_end_no_batch, cut_headers_are_refused],
         "B11": [types_of_elements_are_the_standards, damaged_slices_end_no_batch, values_of_elements_are_judged]}
