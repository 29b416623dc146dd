"""Prints the qform that nibabel makes of the affine given as JSON."""
import json
import sys

import nibabel
import numpy

header = nibabel.Nifti1Header()
header.set_data_shape((5, 4, 3))
header.set_qform(numpy.array(json.loads(sys.argv[1])), 1)
print(json.dumps(header.get_qform().tolist()))
