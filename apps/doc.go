// Package apps holds an app: what clients see of a server. It puts models,
// strategies, labels, sessions and tasks together and is the composition root
// for the packages below.
//
// An app is a folder (or an embedded file system) with app.yaml:
//
//	name: Radiology              # shown to clients; required
//	description: Models for …    # shown to clients
//	version: "1.0"               # shown to clients
//	models:                      # required, at least one; order is kept
//	  - path: models/hippocampus # folder with model.onnx and manifest.yaml,
//	                             # below the app's folder
//	    name: hippocampus        # how clients call it; default: the folder's name
//	labels: [anterior]           # what /info/ lists; default: the models' labels
//	strategies: [random, first]  # default: every strategy there is
//
// Unknown keys are refused, with file and line.
//
// Everything here is safe for many goroutines. Voxel data flows through temp
// files below the state folder's cache, which may be deleted at any time.
package apps
