package conf

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/viper"
)

// DefaultFile is read from the working folder when no other file is named and
// it is there.
const DefaultFile = "voxloop.yaml"

// Sources is where values come from.
type Sources struct {
	File  string                      // must exist; empty: DefaultFile if there is one
	Env   func(string) (string, bool) // os.LookupEnv; nil: no environment
	Flags map[string]any              // by key, only those that were given
}

// monai names the variables of MONAI Label that mean the same as a key.
var monai = map[string]string{
	"app":                  "MONAI_LABEL_APP_DIR",
	"studies":              "MONAI_LABEL_STUDIES",
	"conf":                 "MONAI_LABEL_APP_CONF",
	"port":                 "MONAI_LABEL_SERVER_PORT",
	"api_prefix":           "MONAI_LABEL_API_STR",
	"cors.origins":         "MONAI_LABEL_CORS_ORIGINS",
	"datastore.extensions": "MONAI_LABEL_DATASTORE_FILE_EXT",
	"datastore.read_only":  "MONAI_LABEL_DATASTORE_READ_ONLY",
	"sessions.enabled":     "MONAI_LABEL_SESSIONS",
	"sessions.expiry":      "MONAI_LABEL_SESSION_EXPIRY",
}

// Load merges the sources over Default and validates the result. Errors name
// the key. Keys of the file are case-insensitive; one that is unknown is
// refused.
func Load(s Sources) (Config, error) {
	v := viper.New()
	known := setDefaults(v)
	if err := mergeFile(v, s.File, known); err != nil {
		return Config{}, err
	}
	if s.Env != nil {
		for _, key := range known {
			if text, ok := fromEnv(s.Env, key); ok {
				if err := set(v, key, text); err != nil {
					return Config{}, err
				}
			}
		}
	}
	for key, value := range s.Flags {
		if !slices.Contains(known, key) {
			return Config{}, fmt.Errorf("the flag of %q sets no key of the configuration", key)
		}
		if err := set(v, key, value); err != nil {
			return Config{}, err
		}
	}
	c, err := decode(v.AllSettings())
	if err != nil {
		return Config{}, err
	}
	return c, c.Validate()
}

// set overrides a key. The app's options are merged one by one: a flag for one
// of them leaves the file's others.
func set(v *viper.Viper, key string, value any) error {
	if key != "conf" {
		v.Set(key, value)
		return nil
	}
	merged, err := appOptions(v.Get(key))
	if err != nil {
		return err
	}
	more, err := appOptions(value)
	if err != nil {
		return err
	}
	maps.Copy(merged, more)
	v.Set(key, merged)
	return nil
}

// setDefaults returns the known keys in alphabetical order.
func setDefaults(v *viper.Viper) []string {
	known := []string{"conf"}
	for key, value := range settings(Default()) {
		v.SetDefault(key, value)
		if key != "conf" {
			known = append(known, key)
		}
	}
	slices.Sort(known)
	return known
}

func mergeFile(v *viper.Viper, name string, known []string) error {
	required := name != ""
	if !required {
		name = DefaultFile
	}
	f, err := os.Open(name) //nolint:gosec // the operator names the file
	if errors.Is(err, fs.ErrNotExist) && !required {
		return nil
	}
	if err != nil {
		return fmt.Errorf("configuration file: %w", err)
	}
	defer f.Close()
	own := viper.New()
	own.SetConfigType("yaml")
	if err := own.ReadConfig(f); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	for _, key := range own.AllKeys() {
		if !slices.Contains(known, key) && !strings.HasPrefix(key, "conf.") {
			return fmt.Errorf("%s: unknown key %q", filepath.Base(name), key)
		}
	}
	if err := v.MergeConfigMap(own.AllSettings()); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return nil
}

// EnvName returns the variable of a key.
func EnvName(key string) string {
	return "VOXLOOP_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

func fromEnv(env func(string) (string, bool), key string) (string, bool) {
	for _, name := range []string{EnvName(key), monai[key]} {
		if text, ok := env(name); ok && name != "" && text != "" {
			return text, true
		}
	}
	return "", false
}
