"""Volumes for the walks, written byte by byte, and what other readers say of a file.

Needs numpy, nibabel and pydicom. Arrays are x, y, z. Positions are mm in LPS, as everywhere in LAMP.
"""

import gzip
import struct

import nibabel
import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

NIFTI_TYPES = {"uint8": 2, "int16": 4, "int32": 8, "float32": 16, "float64": 64, "uint16": 512}
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def step_volume(size=(20, 18, 16), low=0, high=800, dtype="int16"):
    """A volume of `low` with a box of `high` that lies in no symmetric place, so that a flip shows."""
    values = np.full(size, low, dtype)
    x, y, z = size
    values[2 : x // 2, 3 : y // 2 + 1, 4 : z - 3] = high
    return values


def affine(spacing=(1, 1, 1), origin=(0, 0, 0), axes=np.eye(3)):
    """The voxel -> mm matrix of axes (columns), spacing and the first voxel's place."""
    result = np.eye(4)
    result[:3, :3] = np.asarray(axes, float) @ np.diag(spacing)
    result[:3, 3] = origin
    return result


def nifti_bytes(
    values, matrix, pixdim=None, sform=1, qform=0, qform_matrix=None, slope=1.0, intercept=0.0, order="<", units=2
):
    """A NIfTI-1 file of `values` with `matrix` (voxel -> RAS) as its sform. `qform_matrix` must be a rotation
    without reflection times a spacing."""
    values = np.asarray(values)
    pixdim = pixdim if pixdim is not None else np.linalg.norm(matrix[:3, :3], axis=0)
    header = bytearray(352)
    put = lambda at, kind, *what: struct.pack_into(order + kind, header, at, *what)
    put(0, "i", 348)
    put(40, "8h", values.ndim, *values.shape, *[1] * (7 - values.ndim))
    put(70, "2h", NIFTI_TYPES[values.dtype.name], values.dtype.itemsize * 8)
    put(76, "8f", 1.0, *pixdim, 1, 1, 1, 1)
    put(108, "3f", 352, slope, intercept)
    put(123, "B", units)
    put(252, "2h", qform, sform)
    if qform:
        b, c, d = quaternion(qform_matrix if qform_matrix is not None else matrix)
        put(256, "6f", b, c, d, *(qform_matrix if qform_matrix is not None else matrix)[:3, 3])
    put(280, "12f", *matrix[:3].ravel())
    header[344:348] = b"n+1\0"
    return bytes(header) + values.astype(values.dtype.newbyteorder(order)).tobytes(order="F")


def quaternion(matrix):
    """b, c, d of the rotation in a matrix, by nibabel."""
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    return nibabel.quaternions.mat2quat(axes)[1:]


def write_nifti(path, values, matrix=None, **header):
    """Writes a .nii or .nii.gz; the default matrix is 1 mm along L, P, S from 0."""
    content = nifti_bytes(values, RAS_TO_LPS if matrix is None else matrix, **header)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, 1) if path.name.lower().endswith(".gz") else content)
    return path


def nrrd_bytes(values, fields, encoding="raw", order="<"):
    """An NRRD file with these header lines (a list of texts) behind type, size and encoding."""
    kinds = {"int16": "short", "uint8": "uchar", "float32": "float", "uint16": "ushort", "int32": "int"}
    head = [
        "NRRD0004",
        f"type: {kinds[values.dtype.name]}",
        f"dimension: {values.ndim}",
        "sizes: " + " ".join(map(str, values.shape)),
        f"encoding: {encoding}",
        f"endian: {'little' if order == '<' else 'big'}",
        *fields,
        "",
        "",
    ]
    voxels = values.astype(values.dtype.newbyteorder(order)).tobytes(order="F")
    return "\n".join(head).encode() + (gzip.compress(voxels) if encoding == "gzip" else voxels)


def meta_bytes(values, spacing=(1, 1, 1), offset=(0, 0, 0)):
    """A MetaImage (.mha) along L, P, S."""
    kinds = {"int16": "MET_SHORT", "uint8": "MET_UCHAR", "float32": "MET_FLOAT"}
    head = [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = False",
        "TransformMatrix = 1 0 0 0 1 0 0 0 1",
        "Offset = " + " ".join(map(str, offset)),
        "ElementSpacing = " + " ".join(map(str, spacing)),
        "DimSize = " + " ".join(map(str, values.shape)),
        "ElementType = " + kinds[values.dtype.name],
        "ElementDataFile = LOCAL",
        "",
    ]
    return "\n".join(head).encode() + values.tobytes(order="F")


def dicom_slice(plane, index, spacing=(1, 1, 2), series="1.2.3.4", meta=True, implicit=False, **elements):
    """A CT slice as a pydicom data set. `plane` is x, y of stored values; further elements by their keywords."""
    slice_ = pydicom.Dataset()
    slice_.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    slice_.SOPInstanceUID = f"{series}.{index + 1}"
    slice_.SeriesInstanceUID, slice_.StudyInstanceUID = series, "1.2.3"
    slice_.FrameOfReferenceUID = "1.2.3.9"
    slice_.Modality, slice_.SeriesNumber, slice_.InstanceNumber = "CT", 1, index + 1
    slice_.ImageOrientationPatient, slice_.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, index * spacing[2]]
    slice_.PixelSpacing, slice_.SliceThickness = [spacing[1], spacing[0]], spacing[2]
    slice_.Rows, slice_.Columns, slice_.SamplesPerPixel = plane.shape[1], plane.shape[0], 1
    slice_.PhotometricInterpretation = "MONOCHROME2"
    slice_.BitsAllocated = slice_.BitsStored = 16
    slice_.HighBit, slice_.PixelRepresentation = 15, int(plane.dtype == np.int16)
    slice_.RescaleSlope, slice_.RescaleIntercept = 1, 0
    slice_.PixelData = plane.tobytes(order="F")
    for keyword, value in elements.items():
        setattr(slice_, keyword, value)
    syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    if meta:
        slice_.file_meta = pydicom.dataset.FileMetaDataset()
        slice_.file_meta.TransferSyntaxUID = syntax
        slice_.file_meta.MediaStorageSOPClassUID = slice_.SOPClassUID
        slice_.file_meta.MediaStorageSOPInstanceUID = slice_.SOPInstanceUID
    return slice_


def save_slice(slice_, path, preamble=True):
    """Writes a slice as Part 10; without preamble the file begins with the meta information."""
    path.parent.mkdir(parents=True, exist_ok=True)
    slice_.save_as(path, enforce_file_format=True)
    if not preamble:
        path.write_bytes(path.read_bytes()[132:])
    return path


def write_series(folder, values, name="slice{:02d}.dcm", preamble=True, implicit=False, **elements):
    """Writes a CT series of stored `values` (x, y, z) into a folder; returns the folder."""
    for k in range(values.shape[2]):
        slice_ = dicom_slice(np.asfortranarray(values[:, :, k]), k, implicit=implicit, **elements)
        save_slice(slice_, folder / name.format(k), preamble)
    return folder


def points(values, matrix_lps):
    """The places (mm, LPS, rounded to 1e-3) of all voxels that are not 0, sorted: a map without an order of axes."""
    where = np.argwhere(np.asarray(values) != 0)
    places = where @ matrix_lps[:3, :3].T + matrix_lps[:3, 3]
    places = np.round(places, 3) + 0.0
    return places[np.lexsort(places.T)]


def read_lps(path):
    """Values and voxel -> LPS matrix of a NIfTI file, by nibabel."""
    image = nibabel.load(path)
    return np.asanyarray(image.dataobj), RAS_TO_LPS @ image.affine


def same_points(path, expected):
    """What is wrong with a label map: None if its labelled voxels lie at the expected places."""
    found = points(*read_lps(path))
    if found.shape != expected.shape:
        return f"{path}: {len(found)} labelled voxels instead of {len(expected)}"
    worst = np.abs(found - expected).max() if len(found) else 0
    return None if worst < 2e-3 else f"{path}: labelled voxels are up to {worst:.3g} mm off"
