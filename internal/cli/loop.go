package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/internal/ordered"
)

const (
	defaultServer = "http://127.0.0.1:8000"
	askTime       = 30 * time.Second
	maxAnswer     = 64 << 20 // bytes of an answer that are read
)

// asker talks to a running server.
type asker struct {
	server   string
	insecure bool
}

func (a *asker) register(c *cobra.Command) {
	c.Flags().StringVar(&a.server, "server", defaultServer, "address of the running server")
	c.Flags().BoolVar(&a.insecure, "insecure", false, "do not check the server's certificate")
}

// ask sends a request and returns the body of the answer. Errors say what the
// server said.
func (a *asker) ask(ctx context.Context, method, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return a.send(ctx, method, path, "", nil)
}

// send is ask with a body of a type, for as long as ctx allows.
func (a *asker) send(ctx context.Context, method, path, contentType string, content io.Reader) ([]byte, error) {
	base, err := url.Parse(a.server)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, usagef("--server %q: an address like %s is needed", a.server, defaultServer)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(a.server, "/")+path, content)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()                                          // that is its type
	t.TLSClientConfig = &tls.Config{InsecureSkipVerify: a.insecure, MinVersion: tls.VersionTLS12} //nolint:gosec // the user's wish
	defer t.CloseIdleConnections()
	resp, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return nil, fault.Wrap(fault.Unavailable, err, "%s does not answer (%s): is the server running there?", base.Host, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "%s broke off its answer", base.Host)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fault.New(fault.Conflict, "%s answers %s: %s", base.Host, resp.Status, said(body))
	}
	return body, nil
}

// said is the reason in a refusal.
func said(body []byte) string {
	var d struct{ Detail string }
	if json.Unmarshal(body, &d) == nil && d.Detail != "" {
		return d.Detail
	}
	return strings.TrimSpace(string(body[:min(len(body), 300)]))
}

func newLoop(s streams) *cobra.Command {
	return group("loop", "Look at the loop of a running server, or start a training", newLoopStatus(s), newLoopTrain(s), newLoopVerdicts(s))
}

// loopCommand makes a command that asks the server and shows the answer.
func loopCommand(s streams, use, short, method string, args cobra.PositionalArgs, path func(args []string) string, show func(io.Writer, *ordered.Map)) *cobra.Command {
	var a asker
	var asJSON bool
	c := &cobra.Command{
		Use: use, Short: short, Args: args,
		RunE: func(c *cobra.Command, args []string) error {
			body, err := a.ask(c.Context(), method, path(args))
			if err != nil {
				return err
			}
			if asJSON {
				var b bytes.Buffer
				if err := json.Indent(&b, body, "", "  "); err != nil {
					return fault.Wrap(fault.Unavailable, err, "the answer is no JSON: is this a voxloop server?")
				}
				b.WriteByte('\n')
				_, err = b.WriteTo(s.out)
				return err
			}
			m := &ordered.Map{}
			if err := json.Unmarshal(body, m); err != nil {
				return fault.Wrap(fault.Unavailable, err, "the answer is no JSON object: is this a voxloop server?")
			}
			show(s.out, m)
			return nil
		},
	}
	a.register(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print the server's whole answer")
	return c
}

func newLoopStatus(s streams) *cobra.Command {
	return loopCommand(s, "status", "Next run, what holds it back, the hold-out and the last verdicts", http.MethodGet, noArgs,
		func([]string) string { return "/loop/" }, showLoop)
}

func newLoopTrain(s streams) *cobra.Command {
	var reason string
	c := loopCommand(s, "train", "Train the loop's models as soon as nothing holds it back", http.MethodPost, noArgs,
		func([]string) string { return "/loop/train?reason=" + url.QueryEscape(reason) }, showLoop)
	c.Flags().StringVar(&reason, "reason", "by hand", "cause, for the record")
	return c
}

func newLoopVerdicts(s streams) *cobra.Command {
	return loopCommand(s, "verdicts MODEL", "All verdicts on a model's versions, newest first; --json exports every number", http.MethodGet,
		func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("loop verdicts needs the name of a model")
			}
			return nil
		},
		func(args []string) string { return "/loop/verdicts/" + url.PathEscape(args[0]) },
		func(w io.Writer, m *ordered.Map) {
			list, _ := m.Get("verdicts")
			all, _ := list.([]any)
			if len(all) == 0 {
				fmt.Fprintln(w, "no version was judged yet")
			}
			for _, v := range all {
				if j, ok := v.(*ordered.Map); ok {
					d := j.Sub("verdict")
					showVerdict(w, j.String("version"), j.String("time"), d, d.Sub("mean_dice"))
				}
			}
		})
}

func showVerdict(w io.Writer, version, when string, v, mean *ordered.Map) {
	pass, _ := v.Get("pass")
	word := "refused"
	if pass == true {
		word = "better"
	}
	fmt.Fprintf(w, "%-8s %s  %s  Dice %s, in service %s\n         %s\n", word, version, when, numberText(mean, "candidate"), numberText(mean, "current"), v.String("reason"))
}

// numberText is a number of an object with four digits, "–" where it is absent.
func numberText(m *ordered.Map, key string) string {
	if v, ok := m.Get(key); ok {
		switch n := v.(type) {
		case float64:
			return fmt.Sprintf("%.4f", n)
		case json.Number:
			if f, err := n.Float64(); err == nil {
				return fmt.Sprintf("%.4f", f)
			}
		}
	}
	return "–"
}

func showLoop(w io.Writer, m *ordered.Map) {
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(w, "%-13s %s\n", name, text)
		}
	}
	next := m.String("next_run")
	if next == "" {
		next = "none by time"
	}
	line("next run", next)
	line("waiting", m.String("waiting"))
	labels, _ := m.Get("new_labels")
	line("new labels", fmt.Sprint(labels))
	line("last start", m.String("last_start"))
	line("last end", m.String("last_end"))
	if t := m.Sub("training"); t != nil {
		line("training", t.Sub("request").String("model")+", since "+t.String("start_ts"))
	}
	held, _ := m.Sub("hold_out").Get("subjects")
	line("held out", fmt.Sprintf("%v subjects", held))
	showService(w, m)
	verdicts := m.Sub("last_verdict")
	for _, name := range verdicts.Keys() {
		v := verdicts.Sub(name)
		fmt.Fprintf(w, "\n%s\n", name)
		showVerdict(w, v.String("version"), v.String("time"), v, ordered.Of("candidate", value(v, "dice"), "current", value(v, "dice_in_service")))
	}
}

func value(m *ordered.Map, key string) any {
	v, _ := m.Get(key)
	return v
}

// showService prints how the versions in service do, and candidates that run
// beside them.
func showService(w io.Writer, m *ordered.Map) {
	for _, name := range m.Sub("in_service").Keys() {
		s := m.Sub("in_service").Sub(name)
		fmt.Fprintf(w, "\n%s\nin service    %s%s\n", name, s.String("version"), usageText(s.Sub("in_service")))
		if before := s.Sub("before"); before != nil {
			fmt.Fprintf(w, "before        %s%s\n", s.String("against"), usageText(before))
		}
		out := s.Sub("withdrawn")
		for _, version := range out.Keys() {
			fmt.Fprintf(w, "taken out     %s: %s\n", version, out.String(version))
		}
	}
	for _, name := range m.Sub("shadow").Keys() {
		s := m.Sub("shadow").Sub(name)
		sum := s.Sub("summary")
		fmt.Fprintf(w, "in the shadow %s of %s: Dice %s with what people see on %v cases, at least %s\n",
			s.String("version"), name, numberText(sum, "mean_dice"), value(sum, "cases"), numberText(sum, "least_dice"))
	}
}

func usageText(u *ordered.Map) string {
	if u == nil {
		return ""
	}
	text := fmt.Sprintf(": %v inferences, %s of them failed", value(u, "inferences"), numberText(u, "failed"))
	if _, ok := u.Get("dice"); ok {
		text += fmt.Sprintf("; Dice %s with %v labels saved after its proposals", numberText(u, "dice"), value(u, "labels"))
	}
	return text
}
