"""Real scans in the forms in which users have them, and what other readers say of these files.

The scans are a head MR with the AAL atlas (Debian's mricron-data) and a chest CT with organ labels (slicerio of PyPI).
Everything here is done by nibabel, SimpleITK, pydicom and numpy, so that LAMP can be held against it. Positions are
mm in LPS; SimpleITK's arrays are z, y, x.
"""

import json
import struct
import zlib
from collections import namedtuple
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, MRImageStorage, RLELossless,
                         generate_uid)

BRAIN_LABELS = {"0": "background", "1": "Cerebrum_L", "2": "Cerebrum_R", "3": "Cerebellum"}
Grid = namedtuple("Grid", "size spacing origin direction")


def file_of(folder, name):
    """The only file of this name below the folder of the downloads."""
    files = sorted(Path(folder).rglob(name))
    if len(files) != 1:
        raise SystemExit(f"{folder}: {len(files)} files {name}; the docstring says what to download")
    return files[0]


def nifti_grid(path, form=None):
    """The grid of a NIfTI file by nibabel; `form` is None (the file's choice), "sform" or "qform"."""
    image = nib.load(path)
    affine = {None: image.affine, "sform": image.header.get_sform(), "qform": image.header.get_qform()}[form]
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    return Grid(list(image.shape[:3]), spacing, lps[:3, 3], (lps[:3, :3] / spacing).ravel())


def contradicts_itself(path):
    """Whether sform and qform have the same code and differ by more than 0.1 voxel at a corner."""
    image = nib.load(path)
    header = image.header
    if header["sform_code"] != header["qform_code"] or header["sform_code"] == 0:
        return False
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)]).T
    corners[:3] *= np.array(image.shape[:3]).reshape(3, 1) - 1
    apart = ((header.get_sform() - header.get_qform()) @ corners)[:3]
    return np.linalg.norm(apart, axis=0).max() > 0.1 * min(header.get_zooms()[:3])


def itk_grid(image):
    """The grid of a SimpleITK image or of a file that it reads."""
    image = image if isinstance(image, sitk.Image) else sitk.ReadImage(str(image))
    return Grid(list(image.GetSize()), np.array(image.GetSpacing()), np.array(image.GetOrigin()),
                np.array(image.GetDirection()))


def facts_grid(facts):
    """The grid in a row of `case_facts`."""
    return Grid(facts["size"], facts["spacing_mm"], facts["origin_mm"], facts["direction"])


def grids_differ(found, expected, tolerance=2e-4):
    """What differs between two grids, as a list of texts."""
    if list(found.size) != list(expected.size):
        return [f"size {found.size} instead of {expected.size}"]
    return [f"{name} {list(a)} instead of {list(b)}"
            for name, a, b in zip(Grid._fields[1:], found[1:], expected[1:])
            if not np.allclose(a, b, rtol=0, atol=tolerance)]


def array_of(path):
    """The voxels of a file or SimpleITK image, z, y, x."""
    return sitk.GetArrayFromImage(path if isinstance(path, sitk.Image) else sitk.ReadImage(str(path)))


def label_counts(path):
    """Label value as text -> voxels, of the values that occur."""
    values, counts = np.unique(array_of(path), return_counts=True)
    return {str(int(v)): int(c) for v, c in zip(values, counts)}


def with_voxels(array, like):
    """An image of these voxels on the grid of another."""
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(like)
    return image


def brain_label(aal):
    """AAL's 116 structures as left cerebrum, right cerebrum and cerebellum (odd numbers are left, to 90 cerebrum)."""
    table = np.zeros(256, np.uint8)
    table[1:91:2], table[2:91:2], table[91:117] = 1, 2, 3
    return with_voxels(table[array_of(aal)], sitk.ReadImage(str(aal)))


def resampled(image, spacing, label=False, degrees=0, axis=2):
    """The image on another grid through the same centre: other voxels, turned about an axis of the patient."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.eye(3)
    a, b = [i for i in range(3) if i != axis]
    turn[a, a], turn[a, b], turn[b, a], turn[b, b] = c, -s, s, c
    direction = turn @ np.array(image.GetDirection()).reshape(3, 3)
    extent = np.array(image.GetSize()) * image.GetSpacing()
    size = np.ceil(extent / spacing).astype(int)
    centre = np.array(image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()]))
    origin = centre - direction @ ((size - 1) / 2 * spacing)
    return sitk.Resample(image, size.tolist(), sitk.Transform(), sitk.sitkNearestNeighbor if label else sitk.sitkLinear,
                         origin.tolist(), list(map(float, spacing)), direction.ravel().tolist(),
                         float(array_of(image).min()), image.GetPixelID())


def reordered(path, axes, target):
    """The same NIfTI image with its axes stored in another order and direction, such as "PIR"; by nibabel."""
    image = nib.load(path)
    transform = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes))
    nib.save(image.as_reoriented(transform), target)
    return target


def scaled(path, factor, target, offset=0):
    """The image with its values times a factor plus an offset, as float32."""
    image = sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkFloat32) * factor + offset
    sitk.WriteImage(image, str(target))
    return target


def write_dataset(folder, labels, cases, tests=(), **more):
    """A Decathlon folder of (name with ending, image, label); labels of test cases go to labelsTs."""
    for part, rows in (("Tr", cases), ("Ts", tests)):
        for name, image, label in rows:
            for kind, volume in (("images", image), ("labels", label)):
                (folder / (kind + part)).mkdir(parents=True, exist_ok=True)
                sitk.WriteImage(volume, str(folder / (kind + part) / name), useCompression=True)
    listed = {"labels": labels, "numTraining": len(cases), "numTest": len(tests),
              "training": [{"image": f"imagesTr/{n}", "label": f"labelsTr/{n}"} for n, _, _ in cases],
              "test": [f"imagesTs/{n}" for n, _, _ in tests], **more}
    (folder / "dataset.json").write_text(json.dumps(listed, indent=1))
    return folder


def compressed_frame(slice_image, compressor, scratch):
    """One slice as JPEG 2000 or lossless JPEG, by GDCM: its frame and its transfer syntax."""
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(scratch))
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    writer.Execute(sitk.JoinSeries(slice_image) if slice_image.GetDimension() == 2 else slice_image)
    dataset = pydicom.dcmread(scratch)
    scratch.unlink()
    return next(generate_frames(dataset.PixelData, number_of_frames=1)), dataset.file_meta.TransferSyntaxUID


def slice_dataset(image, k, modality, uids):
    """Slice k of an int16 image as a DICOM data set, stored with the rescale x 1 - 1024."""
    d, storage = Dataset(), {"CT": CTImageStorage, "MR": MRImageStorage}[modality]
    d.file_meta = FileMetaDataset()
    d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = storage
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = generate_uid()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = uids
    d.Modality, d.PatientName, d.PatientID, d.SeriesNumber, d.InstanceNumber = modality, "Walk", "1", 4, k + 1
    d.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    x, y, z = (np.array(image.GetDirection()).reshape(3, 3)[:, a] for a in range(3))
    spacing = image.GetSpacing()
    d.ImagePositionPatient = [f"{v:.10g}" for v in np.array(image.GetOrigin()) + k * spacing[2] * z]
    d.ImageOrientationPatient = [f"{v:.10g}" for v in [*x, *y]]
    d.PixelSpacing, d.SliceThickness = [f"{spacing[1]:.10g}", f"{spacing[0]:.10g}"], f"{spacing[2]:.10g}"
    d.Columns, d.Rows = image.GetSize()[:2]
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.BitsAllocated = d.BitsStored = 16
    d.HighBit, d.PixelRepresentation = 15, 1
    d.RescaleSlope, d.RescaleIntercept = 1, -1024
    d.PixelData = (array_of(image)[k].astype(np.int32) + 1024).astype("<i2").tobytes()
    d["PixelData"].VR = "OW"
    return d


def save_slice(d, path, syntax):
    """Saves a slice in a transfer syntax: a UID, or "JPEG" or "JPEG2000" (both lossless)."""
    if syntax in ("JPEG", "JPEG2000"):
        stored = sitk.GetImageFromArray(np.frombuffer(d.PixelData, "<i2").reshape(1, d.Rows, d.Columns))
        frame, d.file_meta.TransferSyntaxUID = compressed_frame(stored, syntax, path.with_suffix(".scratch.dcm"))
        d.PixelData = encapsulate([frame])
        d["PixelData"].VR = "OB"
    elif syntax == RLELossless:
        d.compress(RLELossless)
    else:
        d.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        d.PixelData = np.frombuffer(d.PixelData, "<i2").astype(">i2").tobytes()
    d.save_as(path, enforce_file_format=True)


def write_series(folder, image, syntax=ExplicitVRLittleEndian, modality="CT", number=4, without=(), change=None):
    """A DICOM series of an int16 image under shuffled file names; `change(dataset, k)` edits a slice. Returns the
    series' UID."""
    folder.mkdir(parents=True, exist_ok=True)
    uids = [generate_uid() for _ in range(3)]
    names = np.random.default_rng(0).permutation(image.GetSize()[2])
    for k in range(image.GetSize()[2]):
        if k in without:
            continue
        d = slice_dataset(image, k, modality, uids)
        d.SeriesNumber = number
        if change:
            change(d, k)
        save_slice(d, folder / f"S{number}_{names[k]:04d}.dcm", syntax)
    return uids[1]


def overlap(prediction, reference, label):
    """TP, FP, FN, TN and Dice of a label by their definitions."""
    p, r = array_of(prediction) == label, array_of(reference) == label
    tp, fp, fn = int((p & r).sum()), int((p & ~r).sum()), int((~p & r).sum())
    return {"TP": tp, "FP": fp, "FN": fn, "TN": int((~p & ~r).sum()),
            "Dice": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else float("nan")}


def surface_distances(prediction, reference, label):
    """Both ways between the surface voxels of a label, in mm: (from the prediction, from the reference)."""
    edges = [sitk.LabelContour(sitk.ReadImage(str(path)) == label, True) for path in (prediction, reference)]
    maps = [sitk.Abs(sitk.SignedMaurerDistanceMap(edge, squaredDistance=False, useImageSpacing=True))
            for edge in edges]
    return [array_of(maps[1 - i])[array_of(edges[i]) > 0] for i in (0, 1)]


def model_header(path):
    """Of a safetensors file: tensor name -> shape, and the model's `config`."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    metadata = header.pop("__metadata__")
    return {name: tensor["shape"] for name, tensor in header.items()}, json.loads(metadata["config"])


def png_faults(path):
    """What is wrong with a PNG: its signature, the checksums of its chunks, more than 300 kB or 1200 pixels."""
    data, place, problems = Path(path).read_bytes(), 8, []
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[-8:-4] != b"IEND":
        return ["no whole PNG"]
    while place < len(data):
        (length,) = struct.unpack(">I", data[place:place + 4])
        chunk, (crc,) = data[place + 4:place + 8 + length], struct.unpack(">I", data[place + 8 + length:][:4])
        problems += [] if zlib.crc32(chunk) == crc else [f"checksum of {chunk[:4]}"]
        place += 12 + length
    width = struct.unpack(">I", data[16:20])[0]
    return problems + [f"{width} pixels wide"] * (width > 1200) + [f"{len(data)} bytes"] * (len(data) > 300000)


def coloured_columns(path):
    """Of a PNG, the columns of the pixels that are clearly no grey."""
    rgb = array_of(path)[..., :3].astype(int)
    return np.nonzero(rgb.max(-1) - rgb.min(-1) > 80)[1]
