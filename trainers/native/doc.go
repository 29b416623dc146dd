// Package native turns an ONNX network into a training step.
//
// Compile reads the network that is served and derives one graph in standard
// ONNX operators: forward pass, loss, gradients, optimizer. ONNX Runtime's CPU
// provider runs it; neither Python nor ONNX Runtime's training operators take
// part. The trained values go back into the same network: Step.Model.
//
//   - Every operator has one entry in a registry (rules.go and the rule_*.go
//     beside it): its shapes, its value when all inputs are constant, and its
//     gradient. A network with an operator that has no gradient is refused by
//     Compile, with the operator and the node.
//   - Shapes are fixed. Everything that follows from shapes and constants is
//     computed while compiling and leaves the graph.
//   - All parameters live in one float32 vector, the optimizer's moments and
//     the running statistics of batch normalisation in others. They are inputs
//     and outputs of the graph, bound once and never copied; a step writes into
//     the spare set and the two are exchanged when it has succeeded, so that a
//     failed or cancelled step changes nothing.
//   - The network reads [N, C, spatial…] float32; labels are class indices as
//     float32, [N, 1, spatial…].
//
// Gradients are those of automatic differentiation in reverse mode, with
// PyTorch's choices where a function has none: 0 for ReLU and |x| at 0, the
// slope for leaky variants at 0, 1 for Clip at its bounds, the first maximum in
// row-major order for MaxPool.
package native
