"""D1 and D2: DICOM objects of many frames, which LAMP refuses whatever they hold, and stored bits of every kind."""

import re

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

import volumes
from format_checks import LEVEL, is_read, is_refused, levels, stored
from material import fresh

CT, MR, PET, LEGACY = (f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("2.1", "4.1", "130", "2.2"))
SPACING = (1.5, 2, 3)
PLACE = volumes.affine(SPACING)


def group(**elements):
    """A functional group: its one item holds these elements."""
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return Sequence([item])


def enhanced(order=range(6), shared=(), missing=(), step=lambda k: 3.0 * k, rescale=lambda k: (1, 0), claim=None,
             top=False, class_uid=CT, groups=True, syntax_frames=None):
    """An enhanced object of the levels. `order`: the planes in the order of frames; `shared`: groups of all frames
    ("position", "rescale"); `missing`: groups that no frame has; `claim`: another NumberOfFrames; `top`: place and
    rescale of the first frame beside the groups, as in a classic slice."""
    frames = list(order)
    values = np.concatenate([stored()[:, :, k].T.ravel() for k in frames])
    first = volumes.dicom_slice(np.asfortranarray(stored()[:, :, frames[0]]), 0, SPACING, SOPClassUID=class_uid)
    if not top:
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope",
                        "RescaleIntercept", "SliceThickness"):
            delattr(first, keyword)
    first.NumberOfFrames = len(frames) if claim is None else claim
    if claim == "":
        del first.NumberOfFrames
    first.PixelData = values.astype("<i2").tobytes()
    if not groups:
        return first

    def groups_of(k):
        slope, intercept = rescale(k)
        return {"position": ("PlanePositionSequence", group(ImagePositionPatient=[0, 0, step(k)])),
                "orientation": ("PlaneOrientationSequence", group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])),
                "measures": ("PixelMeasuresSequence", group(PixelSpacing=[2, 1.5], SliceThickness=3)),
                "rescale": ("PixelValueTransformationSequence", group(RescaleSlope=slope, RescaleIntercept=intercept,
                                                                      RescaleType="HU"))}

    wanted = [name for name in groups_of(0) if name not in missing]
    whole, frame_items = Dataset(), []
    for name in wanted:
        if name in shared:
            setattr(whole, *groups_of(frames[0])[name])
    for k in frames:
        item = Dataset()
        for name in wanted:
            if name not in shared:
                setattr(item, *groups_of(k)[name])
        frame_items.append(item)
    first.SharedFunctionalGroupsSequence = Sequence([whole])
    first.PerFrameFunctionalGroupsSequence = Sequence(frame_items)
    return first


def many_frames_are_refused(walk):
    """Each kind of enhanced object, alone and beside a classic series: refused by name, or left out and named."""
    always = ("orientation", "measures")
    forms = {
        "groups of frames": enhanced(), "shared groups": enhanced(shared=always), "shuffled": enhanced(
            [3, 0, 5, 1, 4, 2], always), "reversed": enhanced(range(5, -1, -1), always),
        "a rescale of each frame": enhanced(shared=always, rescale=lambda k: (1 + k, -k)),
        "one rescale": enhanced(shared=(*always, "rescale"), rescale=lambda _: (2, -1000)),
        "no positions": enhanced(shared=always, missing=["position"]), "no orientation": enhanced(
            missing=["orientation"]), "no groups": enhanced(groups=False), "unequal distances": enhanced(
            shared=always, step=lambda k: float(k * k)), "one frame": enhanced([0], always),
        "one frame, place beside it": enhanced([0], always, top=True), "place beside six": enhanced(
            shared=always, top=True), "the number of frames is 1": enhanced(shared=always, claim=1, top=True),
        "no number of frames": enhanced(shared=always, claim="", top=True), "the number is too large": enhanced(
            shared=always, claim=7), "the number is 0": enhanced(shared=always, claim=0), "MR": enhanced(
            shared=always, class_uid=MR), "PET": enhanced(shared=always, class_uid=PET),
        "legacy converted": enhanced(shared=always, class_uid=LEGACY, top=True),
        "a missing plane": enhanced([0, 1, 2, 4, 5], always), "two phases": enhanced([0, 1, 2, 0, 1, 2], always),
    }
    for claim, whole in forms.items():
        folder = fresh(walk, "many")
        volumes.save_slice(whole, folder / "frames.dcm")
        is_refused(walk, f"enhanced: {claim}", folder, named="frames.dcm", says="NIfTI")
        walk.check(f"enhanced: {claim}, named itself", ["check", folder / "frames.dcm"], code=3, says="frames.dcm")
        for series, code in (("1.2.3.4", "refused"), ("1.2.77", "ignored")):
            beside = volumes.write_series(fresh(walk, "beside"), stored(), spacing=SPACING, series=series)
            whole.SOPInstanceUID = "1.2.3.4.99"
            whole.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.99"
            volumes.save_slice(whole, beside / "frames.dcm")
            if code == "refused":
                is_refused(walk, f"{claim}, in the series of slices", beside, named="frames.dcm")
            else:
                walk.check(f"{claim}, in a series of its own", ["check", beside], code=(0, 3), says=re.compile(
                    "frames.dcm|--series"))
                is_read(walk, "the slices are chosen", beside, PLACE, options=["--series", "1.2.77"])


def multi_frame_captures_are_refused(walk):
    """Secondary captures and classic images with several frames, whatever their number says."""
    for uid in ("1.2.840.10008.5.1.4.1.1.7.2", "1.2.840.10008.5.1.4.1.1.7.3", "1.2.840.10008.5.1.4.1.1.2",
                "1.2.840.10008.5.1.4.1.1.20", "1.2.840.10008.5.1.4.1.1.3.1"):
        folder = fresh(walk, "many")
        volumes.save_slice(enhanced(groups=False, top=True, class_uid=uid), folder / "frames.dcm")
        is_refused(walk, f"six frames of {uid}", folder, named="frames.dcm")
    for number in ("1", "01", " 1 ", "+1"):
        folder = volumes.write_series(fresh(walk, "one"), stored(), spacing=SPACING, NumberOfFrames=number)
        is_read(walk, f"NumberOfFrames {number!r}", folder, PLACE)
    for number in (6, 0, -1, 2**31):
        folder = volumes.write_series(fresh(walk, "one"), stored(), spacing=SPACING, NumberOfFrames=number)
        is_refused(walk, f"NumberOfFrames {number}", folder, named="slice00.dcm")


def stored_bits(walk):
    """8, 16 and 32 bits; bits above and below those in use; bits of an overlay; icons and private elements."""
    word = lambda values, kind: {"PixelData": values.astype(kind).tobytes()}
    forms = {
        "8 bits": lambda v: {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0,
                             "RescaleSlope": 100, **word(v // LEVEL, "u1")},
        "32 bits": lambda v: {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31, **word(v, "<i4")},
        "12 bits at the top": lambda v: {"BitsStored": 12, "HighBit": 15, "PixelRepresentation": 0,
                                         **word(v << 4, "<u2")},
        "12 bits below an overlay": lambda v: {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0, **word(
            v | 0x1000, "<u2")},
        "10 bits with a sign": lambda v: {"BitsStored": 10, "HighBit": 9, "RescaleIntercept": 512, **word(
            (v - 512) & 0x3FF, "<u2")},
        "a rescale with exponents": lambda v: {"RescaleSlope": "5.0E-01", "RescaleIntercept": "-1.0e2", **word(
            (v + 100) * 2, "<i2")},
        "voxels as bytes": lambda v: word(v, "<i2"),
    }
    for claim, elements in forms.items():
        for implicit in (False, True):
            folder = fresh(walk, "bits")
            for k in range(6):
                plane = stored()[:, :, k].T.ravel().astype(np.int64)
                slice_ = volumes.dicom_slice(np.asfortranarray(stored()[:, :, k]), k, SPACING, implicit=implicit,
                                             **elements(plane))
                icon = volumes.dicom_slice(np.zeros((2, 2), np.int16), 0)
                slice_.IconImageSequence = Sequence([icon])
                slice_["IconImageSequence"].is_undefined_length = True
                slice_.add_new(0x00090010, "LO", "MAKER")
                slice_.add_new(0x00091012, "SQ", Sequence([Dataset()]))
                if "overlay" in claim:
                    for tag, value in ((0x60000010, 7), (0x60000011, 8), (0x60000100, 16), (0x60000102, 12)):
                        slice_.add_new(tag, "US", value)
                volumes.save_slice(slice_, folder / f"{5 - k}.dcm")
            is_read(walk, f"{claim}, implicit {implicit}", folder, PLACE, levels())


LINES = {"D1": [many_frames_are_refused, multi_frame_captures_are_refused], "D2": [stored_bits]}
