// Package simulate plays the loop of labelling and training with labels that
// exist already, to compare selection strategies.
//
// Every strategy of a seed begins with the same labelled images and the same
// model, and is judged on the same images, which are never trained on. What one
// round took part in is written down when it is done, so a simulation that was
// stopped goes on where it was.
package simulate
