package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/voxloop/voxloop/apps"
)

// Options tune a Server. The zero value is ready for use.
type Options struct {
	Prefix     string               // path before all protocol routes, as "/api"; pages and probes stay where they are
	Origins    []string             // web pages that may use the server (CORS); empty: all
	UploadIdle time.Duration        // an upload without a byte for so long is given up; 0 means 60 s
	StopGrace  time.Duration        // how long a stop waits for running requests; 0 means 2 min
	Metrics    *prometheus.Registry // what /metrics shows; nil: a new one
	Logger     *slog.Logger         // nil means slog.Default()
}

// Server answers HTTP for one app.
type Server struct {
	app     *apps.App
	opts    Options
	log     *slog.Logger
	metrics *metrics
	routes  []route
	known   map[string]bool // the paths of routes, as written there
	openapi []byte
	started time.Time
	echo    *echo.Echo

	stopping chan struct{} // closed when Serve stops: answers without an end then end
	stop     func()
}

// New makes a server for app. It does not own the app: close that after Serve
// has returned.
func New(app *apps.App, o Options) *Server {
	if o.UploadIdle <= 0 {
		o.UploadIdle = time.Minute
	}
	if o.StopGrace <= 0 {
		o.StopGrace = 2 * time.Minute
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &Server{app: app, opts: o, log: o.Logger, metrics: newMetrics(o.Metrics), known: map[string]bool{}, started: time.Now(), stopping: make(chan struct{})}
	s.stop = sync.OnceFunc(func() { close(s.stopping) })
	s.routes = prefixed(s.table(), o.Prefix)
	s.openapi = openAPI(s.routes)
	s.echo = echo.New()
	s.echo.HTTPErrorHandler = s.fail
	s.echo.Pre(decodedPath)
	s.echo.Use(s.observed, s.recovered, cors(o.Origins), s.noOptions, noStaleBody)
	for _, r := range s.routes {
		s.known[r.path] = true
		s.echo.Add(r.method, r.path, s.whole(r))
	}
	return s
}

// Handler returns the server's handler.
func (s *Server) Handler() http.Handler { return s.echo }

// Serve answers requests on l until ctx ends. It then takes no new ones,
// finishes what is running within StopGrace and returns nil; what is still
// running after that is cut off, which is an error.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           s.echo,
		ReadHeaderTimeout: 15 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    1 << 16,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	s.log.Info("stopping", "grace", s.opts.StopGrace)
	s.stop()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.StopGrace)
	defer cancel()
	err := srv.Shutdown(grace)
	if err != nil {
		err = errors.Join(err, srv.Close())
	}
	if end := <-served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}
