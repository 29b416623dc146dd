package cli

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/conf"
	"github.com/voxloop/voxloop/infer"
	"github.com/voxloop/voxloop/server"
)

func newServe(s streams) *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:     serveNames[0] + " --app NAME|DIR --studies DIR",
		Aliases: serveNames[1:],
		Short:   "Serve a folder of images to annotators' viewers",
		Long: `Serve a folder of images to annotators' viewers over the MONAI Label protocol.
Every setting may also come from a file (--config) or the environment (VOXLOOP_…,
and the MONAI_LABEL_… variables that mean the same); flags win. The flags and the
name start_server of MONAI Label's command are accepted.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := f.load()
			if err != nil {
				return err
			}
			if f.dryRun {
				return cfg.Write(s.out)
			}
			return serve(c.Context(), s, cfg, f.ignored())
		},
	}
	f.register(c)
	return c
}

// serve runs a server until ctx ends.
func serve(ctx context.Context, s streams, c conf.Config, ignored map[string]string) (err error) {
	ring := apps.NewLogRing(0)
	log := slog.New(ring.Handler(newHandler(s.err, c.Log.Format, c.Log.Level)))
	for _, name := range slices.Sorted(maps.Keys(ignored)) {
		log.Warn("flag has no meaning here", "flag", name, "why", ignored[name])
	}
	src, err := findApp(c.App)
	if err != nil {
		return err
	}
	if src.note != "" {
		log.Warn("built-in app is served", "app", c.App, "why", src.note)
	}
	loop, err := loopOptions(c.Loop)
	if err != nil {
		return err
	}
	hook, err := webhookOptions(c.Webhook)
	if err != nil {
		return err
	}
	l, err := listen(ctx, c)
	if err != nil {
		return err
	}
	metrics := prometheus.NewRegistry()
	o := appOptions(s, c, src, log, ring, metrics)
	o.Loop, o.Webhook, o.Selection = loop, hook, selectionOptions(c.Selection)
	app, err := apps.Open(ctx, o)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer func() { err = errors.Join(err, app.Close()) }()
	announce(log, l, c)
	srv := server.New(app, server.Options{
		Prefix:    c.APIPrefix,
		Origins:   c.CORS.Origins,
		StopGrace: c.ShutdownGrace,
		Metrics:   metrics,
		Logger:    log,
	})
	return srv.Serve(ctx, l)
}

func appOptions(s streams, c conf.Config, src appSource, log *slog.Logger, ring *apps.LogRing, metrics prometheus.Registerer) apps.Options {
	var embedded fs.FS
	if src.dir == "" {
		embedded = src.fsys
	}
	return apps.Options{
		Dir:        src.dir,
		FS:         embedded,
		Conf:       c.Conf,
		Studies:    c.Studies,
		State:      c.State,
		ReadOnly:   c.Datastore.ReadOnly,
		Extensions: c.Datastore.Extensions,
		Rescan:     c.Datastore.Rescan,
		Runtime:    lazyRuntime(c.ORT, c.Device, s.err, log),
		Device:     c.Device,
		Threads:    c.Threads,
		Sessions:   apps.SessionOptions{Enabled: c.Sessions.Enabled, Expiry: c.Sessions.Expiry},
		Training:   trainingOptions(c),
		Limits:     apps.Limits{MaxUpload: int64(c.Limits.Upload), MaxVoxels: c.Limits.Voxels, QueueLength: c.Limits.Queue},
		Versions: apps.VersionOptions{
			Keep: c.Models.Keep, KeepPrevious: int64(c.Models.KeepPrevious),
			Policy: map[infer.Origin]apps.Policy{infer.OriginPut: apps.Policy(c.Models.Put), infer.OriginTraining: apps.Policy(c.Models.Trained)},
		},
		Logs:    ring,
		Logger:  log,
		Metrics: metrics,
	}
}

func trainingOptions(c conf.Config) apps.TrainingOptions {
	nice := c.Training.Nice
	if nice == 0 {
		nice = -1 // the option's 0 is its default
	}
	return apps.TrainingOptions{
		Enabled: c.Training.Enabled, Resume: c.Training.Resume, Threads: c.Training.Threads, Nice: nice,
		Keep: c.Training.Candidates, Library: c.ORT,
	}
}

// announce says where clients find the server.
func announce(log *slog.Logger, l net.Listener, c conf.Config) {
	log.Info("serving", "url", clientURL(l.Addr(), c), "app", c.App, "studies", c.Studies)
	if ip := net.ParseIP(c.Host); ip != nil && ip.IsUnspecified() {
		log.Info("every machine that reaches this one can use the server; --host 127.0.0.1 keeps it to this machine")
	}
}
