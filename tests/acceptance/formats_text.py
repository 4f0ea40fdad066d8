"""T1 to T3: NRRD and MetaImage files in the forms that their definitions allow and writers use."""

import bz2
import gzip
import zlib

import nibabel
import numpy as np
import SimpleITK

import volumes
from format_checks import OBLIQUE, itk_agrees, is_read, is_refused, levels, stored
from material import fresh

RAW = stored().astype("<i2").tobytes(order="F")
VECTOR = lambda v: "(" + ",".join(repr(float(x)) for x in v) + ")"
NRRD = {
    "type": "short", "dimension": "3", "space": "left-posterior-superior", "sizes": "8 7 6",
    "space directions": " ".join(VECTOR(OBLIQUE[:3, i]) for i in range(3)), "kinds": "domain domain domain",
    "endian": "little", "encoding": "raw", "space origin": VECTOR(OBLIQUE[:3, 3]),
}
META = {
    "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False", "TransformMatrix": " ".join(repr(float(v)) for v in (
        OBLIQUE[:3, :3] / [1.5, 2, 3]).T.ravel()), "Offset": "-11 7 5", "ElementSpacing": "1.5 2 3",
    "DimSize": "8 7 6", "ElementType": "MET_SHORT",
}


def nrrd(data=RAW, **changes):
    """An NRRD file; a field of None is left out, an underscore stands for a blank."""
    fields = {**NRRD, **{key.replace("_", " "): value for key, value in changes.items()}}
    head = "NRRD0005\n" + "".join(f"{key}: {value}\n" for key, value in fields.items() if value is not None)
    return head.encode() + (b"\n" + data if data is not None else b"")


def meta(data=RAW, file="LOCAL", **changes):
    """A MetaImage file; a field of None is left out."""
    fields = {**META, **changes, "ElementDataFile": file}
    return "".join(f"{key} = {value}\n" for key, value in fields.items() if value is not None).encode() + (data or b"")


def one_more_axis(directions):
    """The fields of an NRRD file whose first or last axis is none of space; {} stands for the three directions."""
    return {"dimension": "4", "space_directions": directions.format(NRRD["space directions"])}


def nrrd_forms(walk):
    """What NRRD's definition allows and LAMP reads."""
    first, last = one_more_axis("none {}"), one_more_axis("{} none")
    big = stored().astype(">i2").tobytes(order="F")
    forms = {
        "plain": nrrd(), "big-endian": nrrd(big, endian="big"), "gzip": nrrd(gzip.compress(RAW), encoding="gzip"),
        "gz of two members": nrrd(gzip.compress(RAW[:99]) + gzip.compress(RAW[99:]), encoding="gz"),
        "a scalar axis": nrrd(sizes="1 8 7 6", kinds="scalar domain domain domain", **first),
        "a stub behind": nrrd(sizes="8 7 6 1", kinds="domain domain domain stub", **last),
        "kinds space": nrrd(kinds="space space space"), "no kinds": nrrd(kinds=None),
        "centers": nrrd(centers="cell cell cell"), "centers of none": nrrd(centers="none none none"),
        "thicknesses": nrrd(thicknesses="nan nan 3"), "units": nrrd(space_units='"mm" "mm" "mm"'),
        "byte skip 0": nrrd(byte_skip="0", line_skip="0"), "notes": nrrd(content="a:=b: c").replace(
            b"\ntype", b"\n# note\nkey:=value: x\ntype"), "CR LF": nrrd(data=None).replace(b"\n", b"\r\n") +
        b"\r\n" + RAW, "other letters": nrrd(encoding="RAW", type="Signed Short"), "sizes far apart": nrrd(
            sizes="  8   7\t6 "), "NRRD0001": nrrd().replace(b"NRRD0005", b"NRRD0001"),
    }
    for claim, content in forms.items():
        path = walk.write("t.nrrd", content)
        is_read(walk, f"NRRD: {claim}", path)
        if claim not in ("other letters", "gz of two members", "sizes far apart", "notes", "CR LF"):
            walk.claim("SimpleITK agrees", walk.run(["--version"]), lambda _: itk_agrees(path, levels(), OBLIQUE))
    for dtype, name in {"int32": "int", "uint16": "unsigned short", "float32": "float", "float64": "double",
                        "int64": "long long", "uint64": "uint64_t", "uint32": "unsigned int"}.items():
        path = walk.write("t.nrrd", nrrd(stored(dtype).tobytes(order="F"), type=name))
        is_read(walk, f"NRRD: {name}", path)
    walk.write("t.raw", RAW)
    is_read(walk, "NRRD: detached", walk.write("t.nhdr", nrrd(None, data_file="t.raw")))
    walk.write("t.raw.gz", gzip.compress(RAW))
    is_read(walk, "NRRD: detached and packed", walk.write("t.nhdr", nrrd(None, data_file="./t.raw.gz",
        encoding="gzip")))
    is_read(walk, "a .nrrd that is detached", walk.write("t.nrrd", nrrd(None, data_file="t.raw")))
    is_read(walk, "a .nhdr that is attached", walk.write("t.nhdr", nrrd()))


def nrrd_refusals(walk):
    """What LAMP does not read, and what contradicts itself."""
    walk.write("a.raw", RAW[:len(RAW) // 2])
    walk.write("b.raw", RAW[len(RAW) // 2:])
    first, last = one_more_axis("none {}"), one_more_axis("{} none")
    text = " ".join(map(str, stored().ravel(order="F"))).encode()
    kinds = "domain domain domain"
    faulty = {
        "text": nrrd(text, encoding="text"), "ascii": nrrd(text, encoding="ascii"), "hex": nrrd(
            RAW.hex().encode(), encoding="hex"), "bzip2": nrrd(bz2.compress(RAW), encoding="bzip2"),
        "line skip": nrrd(b"one line\n" + RAW, line_skip="1"), "byte skip": nrrd(b"abcd" + RAW, byte_skip="4"),
        "byte skip -1": nrrd(b"abcd" + RAW, byte_skip="-1"), "a list": nrrd(None, data_file="LIST\na.raw\nb.raw"),
        "a list of 3 axes": nrrd(None, data_file="LIST 3\na.raw\nb.raw"), "a pattern": nrrd(
            None, data_file="z%03d.raw 1 6 1"), "a block": nrrd(type="block", block_size="2"),
        "channels behind": nrrd(RAW * 2, sizes="8 7 6 2", kinds=f"{kinds} vector", **last),
        "two lists": nrrd(RAW * 4, dimension="5", sizes="2 2 8 7 6", kinds=f"list list {kinds}",
                          space_directions="none none " + NRRD["space directions"]),
        "short": nrrd(RAW[:-1]), "bytes behind": nrrd(RAW + b"\1\2"), "a gzip cut": nrrd(
            gzip.compress(RAW)[:-3], encoding="gzip"), "a gzip of less": nrrd(gzip.compress(RAW[:-2]), encoding="gzip"),
        "a gzip of more": nrrd(gzip.compress(RAW + b"\0\0"), encoding="gzip"), "raw called gzip": nrrd(encoding="gzip"),
        "no endian": nrrd(endian=None), "no type": nrrd(type=None), "no sizes": nrrd(sizes=None), "no encoding": nrrd(
            encoding=None), "no dimension": nrrd(dimension=None), "a size 0": nrrd(sizes="8 0 6"), "a size -7": nrrd(
            sizes="8 -7 6"), "a size 7.5": nrrd(sizes="8 7.5 6"), "a size 2^63": nrrd(sizes=f"8 {2**63} 6"),
        "sizes beyond": nrrd(sizes="4000000000 4000000000 4000000000"), "two axes": nrrd(
            dimension="2", sizes="8 42", space_directions="(1,0,0) (0,1,0)", kinds="domain domain"),
        "complex kind": nrrd(RAW * 2, sizes="2 8 7 6", kinds=f"complex {kinds}", **first),
        "a colour kind": nrrd(RAW * 3, sizes="3 8 7 6", kinds=f"RGB-color {kinds}", **first),
        "an unknown kind": nrrd(kinds="domian domain domain"), "kinds of two": nrrd(kinds="domain domain"),
        "centers of two": nrrd(centers="node node"), "thicknesses of two": nrrd(thicknesses="1 1"),
        "units of two": nrrd(units='"mm" "mm"'), "space units of two": nrrd(space_units='"mm" "mm"'),
        "sheared": nrrd(space_directions="(1,0,0) (0.5,1,0) (0,0,1)"),
        "no NRRD": b"NRRX0005\n" + nrrd()[9:], "version 6": nrrd().replace(b"NRRD0005", b"NRRD0006"),
        "a header without end": nrrd(None), "data and nothing": nrrd(None, data_file="none.raw"),
        "data in itself": nrrd(None, data_file="t.nrrd"), "data in a folder": nrrd(None, data_file="."),
        "no file named": nrrd(None, data_file=""),
    }
    for claim, content in faulty.items():
        if claim in ("complex kind", "a colour kind"):
            path = walk.write("t.nrrd", content)  # a one-channel model refuses them by their number
            is_refused_by_model(walk, f"NRRD: {claim}", path)
        else:
            is_refused(walk, f"NRRD: {claim}", walk.write("t.nrrd", content))


def is_refused_by_model(walk, claim, path):
    """`segment` says how many channels there are and how many the model wants."""
    walk.check(claim, ["segment", "-m", "levels.safetensors", "-i", path, "-o", fresh(walk, "out")], code=(2, 3),
               says=[path.name, "channel"])


def meta_forms(walk):
    """What MetaImage's writers use and LAMP reads."""
    packed = zlib.compress(RAW)
    big = stored().astype(">i2").tobytes(order="F")
    forms = {
        "plain": meta(), "big-endian": meta(big, BinaryDataByteOrderMSB="True"),
        "ElementByteOrderMSB": meta(big, BinaryDataByteOrderMSB=None, ElementByteOrderMSB="True"),
        "compressed": meta(packed, CompressedData="True", CompressedDataSize=str(len(packed))),
        "compressed, no size": meta(packed, CompressedData="True"),
        "HeaderSize 0": meta(HeaderSize="0"), "Position": meta(Offset=None, Position="-11 7 5"),
        "Orientation": meta(TransformMatrix=None, Orientation=META["TransformMatrix"]),
        "one channel": meta(ElementNumberOfChannels="1"), "CR LF": meta(data=None).replace(b"\n", b"\r\n") + RAW,
        "no blanks": meta(data=None).replace(b" = ", b"=") + RAW, "unknown fields": meta(Comment="x",
        Modality="MET_MOD_CT"),
    }
    for claim, content in forms.items():
        path = walk.write("t.mha", content)
        is_read(walk, f"MetaImage: {claim}", path)
        if claim != "compressed, no size":
            walk.claim("SimpleITK agrees", walk.run(["--version"]), lambda _: itk_agrees(path, levels(), OBLIQUE))
    for dtype, name in {"uint16": "USHORT", "int32": "INT", "uint32": "UINT", "float32": "FLOAT", "float64": "DOUBLE",
                        "int64": "LONG_LONG", "uint64": "ULONG_LONG"}.items():
        is_read(walk, f"MetaImage: {name}", walk.write("t.mha", meta(stored(dtype).tobytes(order="F"),
                                                                    ElementType="MET_" + name)))
    walk.write("t.raw", RAW)
    is_read(walk, "MetaImage: detached", walk.write("t.mhd", meta(None, "t.raw")))
    walk.write("t.zraw", packed)
    is_read(walk, "MetaImage: detached, compressed", walk.write("t.mhd", meta(None, "t.zraw", CompressedData="True")))
    for ending in ("mha", "mhd", "nrrd", "nhdr", "nii.gz", "nii"):
        image = SimpleITK.GetImageFromArray(stored().transpose(2, 1, 0))
        image.SetSpacing((1.5, 2, 3))
        image.SetOrigin((-11, 7, 5))
        image.SetDirection((OBLIQUE[:3, :3] / [1.5, 2, 3]).ravel())
        path = walk.path("itk." + ending)
        SimpleITK.WriteImage(image, str(path), ending in ("mha", "nhdr"))
        is_read(walk, f"SimpleITK wrote .{ending}", path)


def meta_refusals(walk):
    """Lists of slices, headers that are skipped, sizes that do not hold, words in other letters."""
    packed = zlib.compress(RAW)
    for z in range(6):
        walk.write(f"z{z + 1:03d}.raw", RAW[112 * z:112 * (z + 1)])
    names = "\n".join(f"z{z:03d}.raw" for z in range(1, 7)).encode() + b"\n"
    text = " ".join(map(str, stored().ravel(order="F"))).encode()
    faulty = {
        "a list": meta(names, "LIST"), "a list of 2-D": meta(names, "LIST 2"), "a pattern": meta(None,
        "z%03d.raw 1 6 1"),
        "HeaderSize -1": meta(HeaderSize="-1"), "HeaderSize 4": meta(b"abcd" + RAW, HeaderSize="4"),
        "text": meta(text, BinaryData="False"), "MET_LONG": meta(ElementType="MET_LONG"), "arrays": meta(
            ElementType="MET_SHORT_ARRAY"), "text type": meta(ElementType="MET_STRING"),
                "no type": meta(ElementType=None),
        "four axes": meta(NDims="4", DimSize="8 7 6 1"), "two axes": meta(NDims="2", DimSize="8 42"),
        "sizes of two": meta(DimSize="8 7"), "sizes of four": meta(DimSize="8 7 6 2"),
        "a size 0": meta(DimSize="8 0 6"),
        "a size -7": meta(DimSize="8 -7 6"), "sizes beyond": meta(DimSize="4000000000 4000000000 4000000000"),
        "channels 0": meta(ElementNumberOfChannels="0"), "channels too many": meta(ElementNumberOfChannels="3"),
        "channels -1": meta(ElementNumberOfChannels="-1"), "short": meta(RAW[:-1]), "bytes behind": meta(RAW + b"\1"),
        "cut": meta(packed[:-2], CompressedData="True"), "another checksum": meta(packed[:-1] + bytes(
            [packed[-1] ^ 1]), CompressedData="True"), "a size that is wrong": meta(
            packed, CompressedData="True", CompressedDataSize="5"),
                "raw called compressed": meta(CompressedData="True"),
        "a negative spacing": meta(ElementSpacing="-1.5 2 3"), "a spacing nan": meta(ElementSpacing="nan 2 3"),
        "rows of no length 1": meta(TransformMatrix="1 0 0 0 2 0 0 0 1"), "a singular matrix": meta(
            TransformMatrix="1 0 0 1 0 0 0 0 1"), "neither true nor false": meta(CompressedData="maybe"),
        "letters of a field": meta(CompressedData=None, compresseddata="True"), "two orders": meta(
            ElementByteOrderMSB="True"), "no data": meta(None, "none.raw"), "data in a folder": meta(None, "."),
        "no ElementDataFile": meta(None, "").replace(b"ElementDataFile = \n", b""), "ObjectType": meta(
            ObjectType="Tube"),
    }
    for claim, content in faulty.items():
        is_refused(walk, f"MetaImage: {claim}", walk.write("t.mha", content))
    is_refused_by_model(walk, "MetaImage: two channels", walk.write("t.mha", meta(RAW * 2,
        ElementNumberOfChannels="2")))


def names_that_contradict(walk):
    """A file of one format under another's name: refused by its content, never read by its name."""
    nifti = nibabel.Nifti1Image(stored(), volumes.RAS_TO_LPS @ OBLIQUE).to_bytes()
    contents = {"nii": nifti, "nii.gz": gzip.compress(nifti), "nrrd": nrrd(), "mha": meta()}
    for kind, content in contents.items():
        for name in ("nii", "nii.gz", "nrrd", "nhdr", "mha", "mhd"):
            if {kind, name} in ({"nii"}, {"nii.gz"}, {"nrrd"}, {"nrrd", "nhdr"}, {"mha"}, {"mha", "mhd"}):
                continue
            path = walk.write(f"other.{name}", content)
            if {kind, name} == {"nii", "nii.gz"}:
                is_read(walk, f"a {kind} named {name}", path)  # gzip is seen by its first bytes
            else:
                is_refused(walk, f"a {kind} named {name}", path)


LINES = {"T1": [nrrd_forms, nrrd_refusals], "T2": [meta_forms, meta_refusals], "T3": [names_that_contradict]}
