// Package codec reads and writes image files of any supported format: NIfTI-1
// and -2 (.nii, .nii.gz, .hdr/.img pairs) and NRRD (.nrrd, .seg.nrrd; .nhdr for
// reading).
//
// For reading the format is recognised by the file's content, compression
// included; for writing the extension chooses. All errors of reading are
// faults that wrap imaging.ErrFormat (Invalid), imaging.ErrLimit (TooLarge) or
// the context's error (Canceled); a file that is not there is NotFound.
package codec

import (
	"path"
	"slices"
	"strings"
)

// Extensions in the order in which a name is tried: the longest first.
var extensions = []string{".seg.nrrd", ".nii.gz", ".nrrd", ".nhdr", ".nii"}

// Ext returns the extension of a file name as it is written there: the longest
// known one, without regard to case, else the text from the last dot, else "".
func Ext(name string) string {
	lower := strings.ToLower(name)
	for _, e := range extensions {
		if strings.HasSuffix(lower, e) {
			return name[len(name)-len(e):]
		}
	}
	return path.Ext(name)
}

// Known reports whether ext, with its dot, is a format that Read understands.
func Known(ext string) bool {
	return slices.Contains(extensions, strings.ToLower(ext))
}
