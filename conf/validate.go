package conf

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// The values that some keys are limited to.
var (
	devices = []string{"", "cpu", "openvino", "cuda"}
	levels  = []string{"debug", "info", "warning", "error"}
	formats = []string{"auto", "text", "json"}
	fates   = []string{"publish", "gate", "candidate"}
)

// Validate reports the first key, in the order of the struct, whose value
// cannot be used. What needs a look at the disk (whether folders exist) is
// reported by whoever opens them.
func (c *Config) Validate() error {
	for _, check := range []func() error{c.checkPlaces, c.checkAddress, c.checkEngine, c.checkLimits, c.checkData, c.checkModels, c.checkTraining, c.checkLoop, c.checkSelection, c.checkWebhook, c.checkLog} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func bad(key, format string, args ...any) error {
	return fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...))
}

func oneOf(key, value string, allowed []string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return bad(key, "%q is not one of %s", value, strings.TrimPrefix(strings.Join(allowed, ", "), ", "))
}

func (c *Config) checkPlaces() error {
	switch {
	case c.App == "":
		return bad("app", "name an app (radiology) or a folder with app.yaml")
	case c.Studies == "":
		return bad("studies", "name the folder with the images")
	case strings.Contains(c.Studies, "://"):
		return bad("studies", "%q is no folder; images are served from folders only", c.Studies)
	case strings.ContainsRune(c.Studies+c.State+c.App, 0):
		return bad("studies", "a path holds a NUL")
	}
	if _, ok := c.Conf[""]; ok {
		return bad("conf", "an option has no name")
	}
	return nil
}

func (c *Config) checkAddress() error {
	if c.Host == "" || strings.ContainsAny(c.Host, " /") || (strings.Contains(c.Host, ":") && net.ParseIP(c.Host) == nil) {
		return bad("host", "%q is no address; 0.0.0.0 listens on every interface, 127.0.0.1 on this machine only", c.Host)
	}
	if c.Port < 0 || c.Port > 65535 {
		return bad("port", "%d is not within 0..65535", c.Port)
	}
	p := c.APIPrefix
	if p != "" && (!strings.HasPrefix(p, "/") || strings.HasSuffix(p, "/") || strings.ContainsAny(p, "?#:* ") || strings.Contains(p, "//")) {
		return bad("api_prefix", "%q must start with a slash, end without one and be a plain path", p)
	}
	return nil
}

func (c *Config) checkEngine() error {
	if err := oneOf("device", c.Device, devices); err != nil {
		return err
	}
	if c.Threads < 0 || c.Threads > 1024 {
		return bad("threads", "%d is not within 0..1024", c.Threads)
	}
	return nil
}

func (c *Config) checkLimits() error {
	switch {
	case c.Limits.Upload < 1<<20:
		return bad("limits.upload", "%s is less than 1MiB", c.Limits.Upload)
	case c.Limits.Voxels < 1:
		return bad("limits.voxels", "%d is not positive", c.Limits.Voxels)
	case c.Limits.Queue < 1:
		return bad("limits.queue", "%d is not positive", c.Limits.Queue)
	}
	return nil
}

func (c *Config) checkData() error {
	if len(c.Datastore.Extensions) == 0 {
		return bad("datastore.extensions", "the list is empty")
	}
	for _, e := range c.Datastore.Extensions {
		if rest, ok := strings.CutPrefix(strings.TrimPrefix(e, "*"), "."); !ok || rest == "" || strings.ContainsAny(rest, "*?[]/\\") {
			return bad("datastore.extensions", "%q is not of the form *.nii.gz", e)
		}
	}
	switch {
	case c.Datastore.Rescan <= 0:
		return bad("datastore.rescan", "%s is not positive", c.Datastore.Rescan)
	case c.Datastore.ReadOnly && c.State == "":
		return bad("state", "a read-only studies folder (datastore.read_only) needs a state folder elsewhere")
	case c.Sessions.Expiry <= 0:
		return bad("sessions.expiry", "%s is not positive", c.Sessions.Expiry)
	case c.ShutdownGrace <= 0:
		return bad("shutdown_grace", "%s is not positive", c.ShutdownGrace)
	case (c.TLS.Cert == "") != (c.TLS.Key == ""):
		return bad("tls", "cert and key are needed together")
	}
	for _, o := range c.CORS.Origins {
		if o != "*" && !strings.HasPrefix(o, "http://") && !strings.HasPrefix(o, "https://") {
			return bad("cors.origins", "%q does not start with http:// or https://", o)
		}
	}
	return nil
}

func (c *Config) checkModels() error {
	if c.Models.Keep < 1 || c.Models.Keep > 10000 {
		return bad("models.keep", "%d is not within 1..10000", c.Models.Keep)
	}
	if err := oneOf("models.put", c.Models.Put, fates); err != nil {
		return err
	}
	return oneOf("models.trained", c.Models.Trained, fates)
}

func (c *Config) checkTraining() error {
	switch t := c.Training; {
	case t.Threads < 0 || t.Threads > 1024:
		return bad("training.threads", "%d is not within 0..1024", t.Threads)
	case t.Nice < 0 || t.Nice > 19:
		return bad("training.nice", "%d is not within 0..19", t.Nice)
	case t.Candidates < 1:
		return bad("training.candidates", "%d is not positive", t.Candidates)
	}
	return nil
}

func (c *Config) checkLog() error {
	if err := oneOf("log.level", c.Log.Level, levels); err != nil {
		return err
	}
	return oneOf("log.format", c.Log.Format, formats)
}
