// Package dataset brings public sets of labelled images into a studies folder:
// one table of sets (Sets), a download that goes on where it stopped, unpacking
// that trusts no archive, conversion to the layout of the data store, and a
// record by which the folder can be verified later.
//
// A studies folder has the images at its top (ID.nii.gz, or ID_0000.nii.gz,
// ID_0001.nii.gz, … as the channels of one image), labels in labels/final under
// the images' ids, and the names of label values in datastore_v2.json. Equal
// archives give equal folders, byte by byte.
//
// Errors are faults: Invalid (an archive that cannot be used), NotFound,
// Conflict (something is in the way), TooLarge (a limit), NoSpace, Unavailable
// (the network), Canceled.
package dataset
