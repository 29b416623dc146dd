package evaluate

import (
	"encoding/csv"
	"io"
	"math"
	"strconv"
)

// WriteCSV writes the table in long form: one row per case and foreground
// class. Numbers have nine decimals, counts none; an undefined value is empty,
// an infinite one "inf".
func (r *Result) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	head := []string{"case", "label", "name"}
	for _, col := range columns {
		head = append(head, col.key)
	}
	if err := c.Write(head); err != nil {
		return err
	}
	for _, row := range r.Rows {
		line := []string{row.Case, strconv.Itoa(int(row.Class.Label)), row.Class.Name}
		for m, v := range row.Values {
			line = append(line, cellText(v, columns[m].whole))
		}
		if err := c.Write(line); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

func cellText(v float64, whole bool) string {
	switch {
	case math.IsNaN(v):
		return ""
	case math.IsInf(v, 1):
		return "inf"
	case whole:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'f', 9, 64)
}
