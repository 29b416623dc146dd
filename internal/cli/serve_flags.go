package cli

import (
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/voxloop/voxloop/conf"
)

// serveNames are the names of the serve command; the second is the
// reference's.
var serveNames = []string{"serve", "start_server"}

// serveFlags are the flags of `voxloop serve`. Those that set a key of the
// configuration are in flagKeys; only flags that were given override it.
type serveFlags struct {
	config string
	conf   pairs
	dryRun bool
	set    *pflag.FlagSet
}

// flagKeys maps flags to keys of the configuration. --verbose and --log_level
// are the reference's two names for one thing here; the latter wins.
var flagKeys = map[string]string{
	"app": "app", "studies": "studies", "state": "state", "host": "host", "port": "port", "device": "device",
	"ort": "ort", "threads": "threads", "verbose": "log.level", "log-level": "log.level", "log-format": "log.format",
	"ssl-certfile": "tls.cert", "ssl-keyfile": "tls.key",
}

// unused are flags of the reference that have no meaning here and the reason
// that the log gives.
var unused = map[string]string{
	"uvicorn-app":       "there is no Python application to load",
	"workers":           "one process serves all clients",
	"limit-concurrency": "limits.queue bounds what waits",
	"access-log":        "log.level debug logs requests",
	"root-path":         "the page of the interface uses relative addresses",
	"log-config":        "log.level and log.format say it",
	"ssl-ca-certs":      "clients need no certificates",
}

func (f *serveFlags) register(c *cobra.Command) {
	f.set, f.conf = c.Flags(), pairs{}
	d := conf.Default()
	s := f.set
	s.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
	})
	s.StringP("app", "a", "", "app to serve: "+builtinNames()+", or a folder with app.yaml")
	s.StringP("studies", "s", "", "folder with the images; made when it is absent")
	s.VarP(f.conf, "conf", "c", "an option of the app, as `KEY VALUE` or KEY=VALUE; repeatable")
	s.StringP("host", "i", d.Host, "address to listen on; 127.0.0.1: this machine only")
	s.IntP("port", "p", d.Port, "port to listen on; 0: any free one")
	s.StringVar(&f.config, "config", "", "configuration file (default "+conf.DefaultFile+" where there is one)")
	s.String("state", "", "folder for our own files (default .voxloop in the studies folder)")
	s.String("device", "", "cpu, openvino or cuda (default: the best one that loads)")
	s.String("ort", "", "an own ONNX Runtime library")
	s.Int("threads", 0, "threads of the network; 0: all cores")
	s.StringP("verbose", "v", "", "the same as --log_level")
	s.String("log_level", d.Log.Level, "debug, info, warning or error")
	s.String("log_format", d.Log.Format, "text, json or auto (text on a terminal)")
	s.String("ssl_certfile", "", "certificate (PEM): serve HTTPS")
	s.String("ssl_keyfile", "", "its key (PEM, not encrypted)")
	s.BoolVar(&f.dryRun, "dryrun", false, "check and print the configuration, serve nothing")
	for _, name := range slices.Sorted(maps.Keys(unused)) {
		s.StringP(name, map[string]string{"log-config": "l"}[name], "", "accepted for the reference's sake")
		s.Lookup(name).Hidden = true
		if name == "access-log" {
			s.Lookup(name).NoOptDefVal = "true"
		}
	}
}

// load merges defaults, file, environment and flags.
func (f *serveFlags) load() (conf.Config, error) {
	values := map[string]any{}
	for _, name := range []string{"verbose", "log-level"} {
		if fl := f.set.Lookup(name); fl.Changed {
			values["log.level"] = levelName(fl.Value.String())
		}
	}
	for name, key := range flagKeys {
		if fl := f.set.Lookup(name); fl.Changed && key != "log.level" {
			values[key] = fl.Value.String()
		}
	}
	if len(f.conf) > 0 {
		values["conf"] = map[string]string(f.conf)
	}
	c, err := conf.Load(conf.Sources{File: f.config, Env: os.LookupEnv, Flags: values})
	if err != nil {
		return c, &usageError{err}
	}
	return c, nil
}

// levelName takes the reference's spellings: upper case, WARN, CRITICAL.
func levelName(text string) string {
	switch level := strings.ToLower(text); level {
	case "warn":
		return "warning"
	case "critical", "fatal":
		return "error"
	case "trace":
		return "debug"
	default:
		return level
	}
}

// ignored returns the given flags that have no meaning here, with why.
func (f *serveFlags) ignored() map[string]string {
	out := map[string]string{}
	for name, why := range unused {
		if f.set.Changed(name) {
			out["--"+strings.ReplaceAll(name, "-", "_")] = why
		}
	}
	return out
}
