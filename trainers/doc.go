// Package trainers makes better models from labelled images.
//
// A Trainer takes a Request (a model folder, cases, a Config) and leaves a
// trained model folder behind, reporting Events on the way. Native is the
// trainer of this program: it turns the ONNX network that is served into a
// training step (trainers/native). Process runs any trainer as a child process
// that reads the request and writes events as JSON lines; the server trains
// natively that way, too, so that memory really returns to the system.
//
// How images become tensors and how a network is judged is the business of
// inference: Data is what a trainer needs of it.
package trainers
