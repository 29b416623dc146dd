"""Prints what nibabel reads from the NIfTI files named as arguments, a JSON object per line."""
import json
import sys

import nibabel
import numpy

for path in sys.argv[1:]:
    image = nibabel.load(path)
    header = image.header
    values = numpy.asarray(image.dataobj, dtype=numpy.float64).ravel(order="F")
    weights = numpy.arange(values.size) % 97 + 1
    print(json.dumps({
        "path": path,
        "shape": list(image.shape),
        "dtype": header.get_data_dtype().newbyteorder("=").name,
        "affine": image.affine.tolist(),
        "sform": image.get_sform().tolist(),
        "qform": image.get_qform().tolist(),
        "codes": [int(header["sform_code"]), int(header["qform_code"])],
        "units": header.get_xyzt_units()[0],
        "zooms": [float(z) for z in header.get_zooms()],
        "extensions": [[e.get_code(), len(e.get_content())] for e in header.extensions],
        "description": header["descrip"].item().decode(),
        "sum": float(values.sum()),
        "weighted": float((values * weights).sum()),
    }))
