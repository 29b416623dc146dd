package ort

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/voxloop/voxloop/internal/fault"
)

// Type is the element type of a tensor, numbered as TensorProto.DataType.
type Type int32

const (
	elemFloat = 1
	elemByte  = 2
)

var typeNames = map[Type]string{
	elemFloat: "float32", elemByte: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
	8: "string", 9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16",
}

func (t Type) String() string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return fmt.Sprintf("ONNX type %d", int32(t))
}

// TensorInfo describes one input or output of a network as its file declares
// it.
type TensorInfo struct {
	Name  string
	Shape []int64 // -1 where the axis is free; nil when the file says nothing about the rank
	Type  Type
}

// Field numbers of onnx.proto3 that the scan below looks at.
const (
	fieldModelGraph     = 7
	fieldModelFunctions = 25
	fieldGraphNode      = 1
	fieldGraphInit      = 5
	fieldGraphInput     = 11
	fieldGraphOutput    = 12
	fieldGraphSparse    = 15
	fieldFunctionNode   = 7
	fieldNodeAttribute  = 5
	fieldTensorName     = 8
	fieldTensorExternal = 13
	fieldTensorLocation = 14
)

// maxDepth bounds the nesting of graphs within graphs, so that a crafted file
// cannot exhaust the stack.
const maxDepth = 32

var errExternal = errors.New("weights in another file")

// scanModel reads the inputs and outputs of an ONNX file without decoding its
// weights. Inputs that have a default (an initializer of the same name) are
// left out, as ONNX Runtime does not ask for them. It refuses (fault.Invalid)
// files over 2 GiB, the limit of the format, and weights kept in other files:
// a network given as bytes has no folder to find them in.
func scanModel(data []byte) (in, out []TensorInfo, err error) {
	if len(data) > math.MaxInt32 {
		return nil, nil, fault.New(fault.Invalid, "the network is larger than 2 GiB, the limit of an ONNX file")
	}
	sc := scan{defaults: make(map[string]bool)}
	err = fields(data, func(n protowire.Number, b []byte) error {
		switch n {
		case fieldModelGraph:
			return sc.graph(b, 0)
		case fieldModelFunctions:
			return sc.each(b, fieldFunctionNode, 0, sc.node)
		}
		return nil
	})
	if errors.Is(err, errExternal) {
		return nil, nil, fault.New(fault.Invalid, "the network keeps its weights in another file: save it as one self-contained ONNX file")
	}
	if err != nil {
		return nil, nil, fault.Wrap(fault.Invalid, err, "the network is no readable ONNX file")
	}
	for _, t := range sc.in {
		if !sc.defaults[t.Name] {
			in = append(in, t)
		}
	}
	if len(in) == 0 || len(sc.out) == 0 {
		return nil, nil, fault.New(fault.Invalid, "the network has %d inputs and %d outputs: at least one of each is needed", len(in), len(sc.out))
	}
	return in, sc.out, nil
}

// scan collects what scanModel wants from the top graph.
type scan struct {
	in, out  []TensorInfo
	defaults map[string]bool // names of initializers
}

func (s *scan) graph(b []byte, depth int) error {
	if depth > maxDepth {
		return errors.New("graphs are nested too deeply")
	}
	return fields(b, func(n protowire.Number, b []byte) error {
		switch n {
		case fieldGraphNode:
			return s.node(b, depth)
		case fieldGraphInit:
			name, err := tensorName(b)
			if depth == 0 {
				s.defaults[name] = true
			}
			return err
		case fieldGraphSparse:
			return sparse(b)
		case fieldGraphInput, fieldGraphOutput:
			if depth > 0 {
				return nil
			}
			t, err := valueInfo(b)
			if n == fieldGraphInput {
				s.in = append(s.in, t)
			} else {
				s.out = append(s.out, t)
			}
			return err
		}
		return nil
	})
}

// node looks for tensors and graphs among the node's attributes.
func (s *scan) node(b []byte, depth int) error {
	return s.each(b, fieldNodeAttribute, depth, func(b []byte, depth int) error {
		return fields(b, func(n protowire.Number, b []byte) error {
			switch n {
			case 5, 10: // t, tensors
				_, err := tensorName(b)
				return err
			case 6, 11: // g, graphs
				return s.graph(b, depth+1)
			case 22, 23: // sparse_tensor, sparse_tensors
				return sparse(b)
			}
			return nil
		})
	})
}

func (s *scan) each(b []byte, want protowire.Number, depth int, f func([]byte, int) error) error {
	return fields(b, func(n protowire.Number, b []byte) error {
		if n == want {
			return f(b, depth)
		}
		return nil
	})
}
