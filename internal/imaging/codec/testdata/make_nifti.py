"""Writes NIfTI files of every real type, byte order and version with nibabel into a folder; prints their paths."""
import itertools
import os
import sys

import nibabel
import numpy

folder = sys.argv[1]
affine = numpy.array([[-0.8, 0.1, 0.2, 30.5], [0.1, 1.1, -0.3, -20.25], [0.05, 0.2, 2.4, 7], [0, 0, 0, 1]])
types = "uint8 int8 uint16 int16 uint32 int32 uint64 int64 float32 float64".split()
for version, dtype, order in itertools.product((1, 2), types, "<>"):
    kind = numpy.dtype(dtype)
    low = 0 if kind.kind == "u" else -50
    values = (numpy.arange(5 * 4 * 3 * 2) * 7 % 101 + low).astype(kind)
    if kind.kind == "f":
        values = values / kind.type(8)
    values = values.reshape((5, 4, 3, 2), order="F")
    make, head = {1: (nibabel.Nifti1Image, nibabel.Nifti1Header), 2: (nibabel.Nifti2Image, nibabel.Nifti2Header)}[version]
    header = head(endianness=order)
    header.set_data_dtype(kind.newbyteorder(order))
    image = make(values, affine, header)
    suffix = ".nii.gz" if order == "<" else ".nii"
    path = os.path.join(folder, f"v{version}_{dtype}_{'little' if order == '<' else 'big'}{suffix}")
    nibabel.save(image, path)
    print(path)

# Where the place comes from: sform, qform or neither; 2-D to 5-D.
for shape, forms in itertools.product(((6, 5), (6, 5, 4), (6, 5, 4, 3), (6, 5, 4, 1, 2)), ("sform", "qform", "neither")):
    values = (numpy.arange(numpy.prod(shape)) % 50).astype(numpy.int16).reshape(shape, order="F")
    image = nibabel.Nifti1Image(values, None)
    image.header.set_zooms([1.5, 2, 3, 1, 1][: len(shape)])
    rigid = nibabel.eulerangles.euler2mat(0.3, -0.2, 0.1) @ numpy.diag([1.5, 2, 3 if len(shape) > 2 else 1])
    full = numpy.eye(4)
    full[:3, :3], full[:3, 3] = rigid, [4, -5, 6]
    if forms == "sform":
        image.set_sform(full, 2)
    if forms == "qform":
        image.set_qform(full, 1)
    path = os.path.join(folder, f"{len(shape)}d_{forms}.nii")
    nibabel.save(image, path)
    print(path)

# Scaling.
header = nibabel.Nifti1Header()
header.set_data_dtype(numpy.int16)
header.set_slope_inter(0.25, -3)
path = os.path.join(folder, "scaled.nii.gz")
nibabel.save(nibabel.Nifti1Image(numpy.arange(24, dtype=numpy.float64).reshape(2, 3, 4) / 4, affine, header), path)
print(path)
