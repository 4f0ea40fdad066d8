#!/usr/bin/env python3
"""Walks files of many formats and writers with the built program: read right, or refused in one line.

N NIfTI, O formats that are not read, T NRRD and MetaImage, D DICOM objects of many frames, P arrays of numpy,
L names, links and large claims.

    python3 tests/acceptance/image_formats.py build/lamp [--only N1,T2] [--json counts.json]

Right values come from numpy, nibabel, pydicom and SimpleITK, which Python needs (`make walk` installs them).
"""

import sys

import format_checks
import formats_arrays
import formats_dicom
import formats_nifti
import formats_other
import formats_text
import walk

MODULES = [formats_nifti, formats_other, formats_text, formats_dicom, formats_arrays]
LINES = {line: checks for module in MODULES for line, checks in module.LINES.items()}

if __name__ == "__main__":
    sys.exit(walk.main(__doc__, LINES, format_checks.prepare))
