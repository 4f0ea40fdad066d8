"""Walks as a new user with real scans: check, prepare, train, segment, evaluate and info, in NIfTI, NRRD, MetaImage
and DICOM. Every value is held against nibabel, SimpleITK, pydicom and numpy (real_scan_data.py).

The scans are not part of the project. They are fetched into one folder, here `scans`, and not installed:

    apt-get download mricron-data && dpkg-deb -x mricron-data_*.deb scans/mricron    # a head MR, atlases
    pip download --no-deps slicerio==1.4.0 && unzip slicerio-*.whl -d scans/slicerio # a chest CT, organ labels
    python3 -m venv venv && venv/bin/pip install numpy nibabel pydicom SimpleITK
    venv/bin/python tests/acceptance/real_scans.py build/lamp scans --keep seen

With --keep the pictures of --preview can be looked at afterwards. Networks are small and scans coarse, for what is
tested is the way through the program, not the quality of a network.

R1  grids of MR and atlases      R5  train, info                R9   values unlike those of training
R2  faults of data sets          R6  segment                    R10  lists of nnU-Net, MONAI; channels
R3  formats                      R7  orders of axes             R11  prepare
R4  DICOM                        R8  evaluate                   R12  pictures
"""

import sys

import real_scan_reading
import real_scan_results
import walk
from real_scan_sets import make_data

if __name__ == "__main__":
    groups = {**real_scan_reading.GROUPS, **real_scan_results.GROUPS}
    sys.exit(walk.main(__doc__, groups, make_data, {"scans": "the folder with the downloads"}))
