package ort

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// fields calls f with every length-delimited field of a protobuf message and
// skips the others. The slices alias b.
func fields(b []byte, f func(n protowire.Number, b []byte) error) error {
	return walk(b, func(n protowire.Number, b []byte, _ uint64, isBytes bool) error {
		if isBytes {
			return f(n, b)
		}
		return nil
	})
}

// walk calls f with every field of a protobuf message: its bytes when it is
// length-delimited, its value when it is a varint. Other kinds are skipped.
func walk(b []byte, f func(n protowire.Number, b []byte, v uint64, isBytes bool) error) error {
	for len(b) > 0 {
		n, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		var err error
		switch kind { // the other kinds are skipped
		case protowire.BytesType:
			var v []byte
			if v, size = protowire.ConsumeBytes(b); size >= 0 {
				err = f(n, v, 0, true)
			}
		case protowire.VarintType:
			var v uint64
			if v, size = protowire.ConsumeVarint(b); size >= 0 {
				err = f(n, nil, v, false)
			}
		default:
			size = protowire.ConsumeFieldValue(n, kind, b)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		if err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

// tensorName returns the name of a TensorProto, or errExternal when its
// values are kept in another file.
func tensorName(b []byte) (name string, err error) {
	err = walk(b, func(n protowire.Number, b []byte, v uint64, isBytes bool) error {
		switch {
		case n == fieldTensorName && isBytes:
			name = string(b)
		case n == fieldTensorExternal && isBytes, n == fieldTensorLocation && !isBytes && v != 0:
			return errExternal
		}
		return nil
	})
	return name, err
}

// sparse checks both tensors (values, indices) of a SparseTensorProto.
func sparse(b []byte) error {
	return fields(b, func(n protowire.Number, b []byte) error {
		if n != 1 && n != 2 {
			return nil
		}
		_, err := tensorName(b)
		return err
	})
}

// valueInfo decodes a ValueInfoProto: name and TypeProto.tensor_type.
func valueInfo(b []byte) (TensorInfo, error) {
	var t TensorInfo
	err := fields(b, func(n protowire.Number, b []byte) error {
		switch n {
		case 1:
			t.Name = string(b)
		case 2:
			return fields(b, func(n protowire.Number, b []byte) error {
				if n != 1 { // sequences, maps, optionals keep type 0, which is refused
					return nil
				}
				return tensorType(b, &t)
			})
		}
		return nil
	})
	if err == nil && t.Name == "" {
		err = errors.New("an input or output has no name")
	}
	return t, err
}

// tensorType decodes a TypeProto.Tensor: element type and shape.
func tensorType(b []byte, t *TensorInfo) error {
	return walk(b, func(n protowire.Number, b []byte, v uint64, isBytes bool) error {
		switch {
		case n == 1 && !isBytes:
			t.Type = Type(v) //nolint:gosec // unknown numbers only show in a message
		case n == 2 && isBytes:
			t.Shape = []int64{}
			return fields(b, func(n protowire.Number, b []byte) error {
				if n != 1 {
					return nil
				}
				d, err := dimension(b)
				t.Shape = append(t.Shape, d)
				return err
			})
		}
		return nil
	})
}

// dimension decodes one TensorShapeProto.Dimension; a symbol is -1.
func dimension(b []byte) (int64, error) {
	d := int64(-1)
	err := walk(b, func(n protowire.Number, _ []byte, v uint64, isBytes bool) error {
		if n == 1 && !isBytes {
			if d = int64(v); d < 0 { //nolint:gosec // protobuf's int64 is this very conversion
				d = -1
			}
		}
		return nil
	})
	return d, err
}
