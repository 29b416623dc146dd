// Package dropout makes the random masks of Dropout ours: training and
// Monte-Carlo dropout at inference draw them from the same counter-based
// generator, and feed them to the network as inputs. ONNX Runtime's own Dropout
// is never used: optimisation removes it or its masks of consecutive runs
// correlate, without a message.
//
// A mask is one byte per value, 1 where it is kept. Kept values are multiplied
// by Scale(ratio), so that the mean stays.
package dropout
