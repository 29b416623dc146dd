package conf

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
)

// decode turns merged settings into a Config. Text from the environment and
// from flags is converted to the type of its key.
func decode(m map[string]any) (Config, error) {
	var c Config
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:      &c,
		ErrorUnused: true,
		DecodeHook:  mapstructure.DecodeHookFuncType(convert),
	})
	if err != nil {
		return c, err
	}
	if err := d.Decode(m); err != nil {
		return c, oneLine(err)
	}
	return c, nil
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	bytesType    = reflect.TypeFor[Bytes]()
	mapType      = reflect.TypeFor[map[string]string]()
	listType     = reflect.TypeFor[[]string]()
)

// convert reads durations ("30s"; a plain number means seconds, as in MONAI
// Label), sizes, lists ("a,b" or a JSON list) and maps (a JSON object).
func convert(from, to reflect.Type, value any) (any, error) {
	text, isText := value.(string)
	switch to {
	case durationType:
		return parseDuration(value)
	case bytesType:
		if from == bytesType {
			return value, nil
		}
		return ParseBytes(fmt.Sprint(value))
	case mapType:
		return appOptions(value)
	case listType:
		if isText {
			return parseList(text)
		}
	}
	if !isText {
		return value, nil
	}
	switch to.Kind() {
	case reflect.Bool:
		return parseBool(text)
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is no whole number", text)
		}
		return n, nil
	}
	return value, nil
}

func parseDuration(value any) (any, error) {
	switch v := value.(type) {
	case time.Duration:
		return v, nil
	case int:
		return time.Duration(v) * time.Second, nil
	case string:
		if n, err := strconv.Atoi(v); err == nil {
			return time.Duration(n) * time.Second, nil
		}
		d, err := time.ParseDuration(v)
		if err != nil {
			return nil, fmt.Errorf("%q is no duration; write for example 90s or 1h", v)
		}
		return d, nil
	}
	return nil, fmt.Errorf("%v is no duration; write for example 90s or 1h", value)
}

// appOptions returns the app's options from a map or the text of a JSON object.
// The result is the caller's.
func appOptions(value any) (map[string]string, error) {
	out := map[string]string{}
	switch v := value.(type) {
	case map[string]string:
		maps.Copy(out, v)
	case string:
		var raw map[string]any
		if err := json.Unmarshal([]byte(v), &raw); err != nil {
			return nil, fmt.Errorf("conf: %q is no JSON object", v)
		}
		return appOptions(raw)
	case map[string]any:
		for k, e := range v {
			switch e.(type) {
			case map[string]any, []any, nil:
				return nil, fmt.Errorf("conf.%s: a text, number or switch is needed", k)
			}
			out[k] = fmt.Sprint(e)
		}
	default:
		return nil, fmt.Errorf("conf: %v is no map", value)
	}
	return out, nil
}

func parseList(text string) ([]string, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "[") {
		var list []string
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			return nil, fmt.Errorf("%q is no JSON list of strings", text)
		}
		return list, nil
	}
	var list []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list, nil
}

func parseBool(text string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true", "1", "yes", "y", "on", "t":
		return true, nil
	case "false", "0", "no", "n", "off", "f":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", text)
}

// oneLine names the key of the first problem and says what it is; an error that
// names its key already is left as it is.
func oneLine(err error) error {
	text := err.Error()
	if first, ok := errors.AsType[*mapstructure.DecodeError](err); ok {
		text = first.Unwrap().Error()
		if !strings.HasPrefix(text, first.Name()) {
			text = first.Name() + ": " + text
		}
	}
	return errors.New(strings.Join(strings.Fields(text), " "))
}

// settings flattens c into its keys.
func settings(c Config) map[string]any {
	flat := map[string]any{}
	flatten(flat, "", reflect.ValueOf(c))
	return flat
}

func flatten(flat map[string]any, prefix string, v reflect.Value) {
	for field, value := range v.Fields() {
		key := prefix + field.Tag.Get("mapstructure")
		if field.Type.Kind() == reflect.Struct {
			flatten(flat, key+".", value)
			continue
		}
		flat[key] = value.Interface()
	}
}
