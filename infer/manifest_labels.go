package infer

import (
	"fmt"
	"math"
	"strings"
)

// checkLabels checks names, values and channels, and fills in the channels and
// colours that the file leaves out.
func (m *Manifest) checkLabels() error {
	names, channels := make(map[string]bool), make(map[[2]int]bool)
	written := false
	for i := range m.Labels {
		l, at := &m.Labels[i], fmt.Sprintf("labels[%d]", i)
		switch {
		case strings.TrimSpace(l.Name) == "":
			return keyErrorf(at+".name", "is missing")
		case names[l.Name]:
			return keyErrorf(at+".name", "%q appears twice", l.Name)
		case l.Value == -1:
			return keyErrorf(at+".value", "is missing")
		case l.Value < 0 || l.Value > math.MaxUint16:
			return keyErrorf(at+".value", "%d is not in 0..65535", l.Value)
		case l.Output < 0 || l.Output >= len(m.Outputs):
			return keyErrorf(at+".output", "%d is no place in outputs", l.Output)
		}
		if l.Channel == nil {
			c := i
			if m.Outputs[l.Output].Decision == decideArgmax {
				c = l.Value
			}
			l.Channel = &c
		}
		key := [2]int{l.Output, *l.Channel}
		switch {
		case *l.Channel < 0 || *l.Channel > math.MaxUint16:
			return keyErrorf(at+".channel", "%d is not in 0..65535", *l.Channel)
		case channels[key]:
			return keyErrorf(at+".channel", "channel %d has a label already", *l.Channel)
		}
		if l.Color == nil {
			c := Colour(palette(l.Value))
			l.Color = &c
		}
		names[l.Name], channels[key] = true, true
		written = written || l.Value > 0
	}
	if !written {
		return keyErrorf("labels", "is missing; name the classes that the model writes, each with a value above 0")
	}
	return nil
}

// checkRules checks the priorities and that overlapping outputs have some.
func (m *Manifest) checkRules() error {
	for i := range m.Outputs {
		o, at := &m.Outputs[i], fmt.Sprintf("outputs[%d].priority", i)
		if o.Decision != decideThreshold {
			continue
		}
		of := m.labelsOf(i)
		if len(o.Priority) == 0 {
			if len(of) > 1 {
				return keyErrorf(at, "is missing: %d outputs may overlap and nothing says which one is written; list the channels, the strongest first", len(of))
			}
			for c := range of {
				o.Priority = []Priority{{Channel: c}}
			}
		}
		seen := make(map[int]bool)
		for k := range o.Priority {
			p, path := &o.Priority[k], fmt.Sprintf("%s[%d]", at, k)
			l, ok := of[p.Channel]
			switch {
			case seen[p.Channel]:
				return keyErrorf(path+".channel", "channel %d appears twice", p.Channel)
			case !ok && p.Value == nil:
				return keyErrorf(path+".channel", "channel %d has no label", p.Channel)
			}
			seen[p.Channel] = true
			if p.Value == nil {
				v := l.Value
				p.Value = &v
			}
			if !m.hasValue(*p.Value) {
				return keyErrorf(path+".value", "no label has the value %d", *p.Value)
			}
		}
		if !m.hasValue(o.ElseValue) {
			return keyErrorf(fmt.Sprintf("outputs[%d].else_value", i), "no label has the value %d", o.ElseValue)
		}
	}
	return nil
}

func (m *Manifest) hasValue(v int) bool {
	if v == 0 {
		return true
	}
	for _, l := range m.Labels {
		if l.Value == v {
			return true
		}
	}
	return false
}

// labelsOf returns the labels of one output by channel.
func (m *Manifest) labelsOf(output int) map[int]LabelSpec {
	of := make(map[int]LabelSpec)
	for _, l := range m.Labels {
		if l.Output == output {
			of[*l.Channel] = l
		}
	}
	return of
}

func (m *Manifest) checkPost() error {
	for i := range m.Postprocess {
		at := fmt.Sprintf("postprocess[%d]", i)
		k := m.Postprocess[i].KeepLargest
		if k == nil {
			return keyErrorf(at, "a step belongs here: keep_largest")
		}
		at += ".keep_largest"
		for j, name := range k.Labels {
			if len(m.valuesOf([]string{name})) == 0 {
				return keyErrorf(fmt.Sprintf("%s.labels[%d]", at, j), "%q is no label above 0 of this model", name)
			}
		}
		switch {
		case k.Connectivity != 6 && k.Connectivity != 18 && k.Connectivity != 26:
			return keyErrorf(at+".connectivity", "%d is none of 6, 18, 26", k.Connectivity)
		case k.Count < 1:
			return keyErrorf(at+".count", "%d is below 1", k.Count)
		}
		if err := oneOf(at+".when", k.When, beforeRestore, afterRestore); err != nil {
			return err
		}
		for j, o := range m.Outputs {
			if k.When == beforeRestore && o.Restore != restoreLabels {
				return keyErrorf(at+".when", "before_restore needs labels there, but outputs[%d].restore is %s; use %s", j, o.Restore, restoreLabels)
			}
		}
	}
	return nil
}

// valuesOf returns the values of labels by name; no names means every label.
func (m *Manifest) valuesOf(names []string) []uint16 {
	var out []uint16
	for _, l := range m.Labels {
		wanted := len(names) == 0
		for _, n := range names {
			wanted = wanted || n == l.Name
		}
		if wanted && l.Value > 0 {
			out = append(out, uint16(l.Value)) //nolint:gosec // checkLabels bounds it
		}
	}
	return out
}

// palette gives labels without a colour one that differs from its neighbours':
// hues a golden angle apart.
func palette(value int) [3]uint8 {
	if value == 0 {
		return [3]uint8{}
	}
	h := math.Mod(float64(value)*137.50776405, 360) / 60
	x := uint8(255 * (1 - math.Abs(math.Mod(h, 2)-1)))
	switch int(h) {
	case 0:
		return [3]uint8{255, x, 0}
	case 1:
		return [3]uint8{x, 255, 0}
	case 2:
		return [3]uint8{0, 255, x}
	case 3:
		return [3]uint8{0, x, 255}
	case 4:
		return [3]uint8{x, 0, 255}
	}
	return [3]uint8{255, 0, x}
}
