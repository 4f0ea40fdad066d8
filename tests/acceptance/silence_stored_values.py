"""Line A9: stored values with their rescale, and nothing else."""

import numpy as np

import volumes
from material import fresh
from silence_geometry import row_of, segmented_right


def stored_values_are_rescaled_and_nothing_else(walk):
    """MONOCHROME1 and 2, windows, padding, inverted lookups, bits stored, per-slice rescale: the modality values."""
    stored = volumes.step_volume((16, 14, 10), 200, 1800)
    forms = {
        "plain": {},
        "window": {"WindowCenter": 40, "WindowWidth": 400},
        "12 bits": {"BitsStored": 12, "HighBit": 11},
        "padding": {"PixelPaddingValue": 200},
        "shape": {"PresentationLUTShape": "INVERSE"},
        "rescale type": {"RescaleType": "US"},
    }
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        for slope, intercept in ((1, -1000), (1, 0), (0.5, -1000), (2, -2048)):
            for form, elements in forms.items():
                kind = np.uint16 if form == "12 bits" else np.int16
                folder = volumes.write_series(
                    fresh(walk, "mono"),
                    stored.astype(kind),
                    RescaleSlope=slope,
                    RescaleIntercept=intercept,
                    PhotometricInterpretation=photometric,
                    **elements,
                )
                values = stored * slope + intercept
                walk.check(
                    f"check: {photometric}, slope {slope}, {form}",
                    ["check", folder, "--json"],
                    right=lambda r: (
                        None
                        if np.allclose(row_of(r)["value_range"], [values.min(), values.max()])
                        else f"values {row_of(r)['value_range']} instead of {values.min()} to {values.max()}"
                    ),
                )
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        for slope, intercept in ((1, -1000), (0.5, -500), (1, -200)):
            folder = volumes.write_series(
                fresh(walk, "mono"),
                stored,
                RescaleSlope=slope,
                RescaleIntercept=intercept,
                PhotometricInterpretation=photometric,
            )
            segmented_right(
                walk,
                folder,
                volumes.affine((1, 1, 2)),
                f"{photometric}, slope {slope}",
                values=stored * slope + intercept,
            )
    slopes = [1 + k / 4 for k in range(10)]
    folder = fresh(walk, "mono")
    for k, slope in enumerate(slopes):
        slice_ = volumes.dicom_slice(
            np.asfortranarray(stored[:, :, k]),
            k,
            RescaleSlope=slope,
            RescaleIntercept=-k,
            PhotometricInterpretation="MONOCHROME1",
        )
        volumes.save_slice(slice_, folder / f"{k}.dcm")
    values = np.stack([stored[:, :, k] * slope - k for k, slope in enumerate(slopes)], axis=2)
    segmented_right(walk, folder, volumes.affine((1, 1, 2)), "each slice's own rescale", values=values)
    walk.check(
        "check: each slice's own rescale",
        ["check", folder, "--json"],
        right=lambda r: (
            None
            if np.allclose(row_of(r)["value_range"], [values.min(), values.max()])
            else f"{row_of(r)['value_range']}"
        ),
    )


LINES = {
    "A9": [stored_values_are_rescaled_and_nothing_else],
}
