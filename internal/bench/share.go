package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// outsideNetwork measures which share of a CT inference, as its client sees
// it, is not spent in the network: the median of three requests after a first
// one.
func (l *lab) outsideNetwork(ctx context.Context) (float64, error) {
	unlock, err := lock(l.o.lock)
	if err != nil {
		return 0, err
	}
	defer unlock()
	args := strings.Fields(l.ours("cases"))
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // the binary under test
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	if err := waitFor(ctx, "http://127.0.0.1:"+port+"/readyz?models=1"); err != nil {
		return 0, err
	}
	var shares []float64
	for i := range 4 {
		s, err := oneShare(ctx)
		if err != nil {
			return 0, err
		}
		if i > 0 {
			shares = append(shares, s)
		}
	}
	slices.Sort(shares)
	return shares[1], nil
}

func waitFor(ctx context.Context, url string) error {
	for range 600 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("%s does not answer 200", url)
}

// oneShare runs one inference that returns its label map, and sets the time of
// the network against the time until the last byte.
func oneShare(ctx context.Context) (float64, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	if err := form.WriteField("params", `{"result_extension": ".nrrd", "result_dtype": "uint8"}`); err != nil {
		return 0, err
	}
	if err := form.Close(); err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1:"+port+"/infer/unet_ct?image=example_ct", &body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	begin := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	total := time.Since(begin).Seconds()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("inference: %s: %s", resp.Status, answer)
	}
	_, after, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
	text, _, _ := bytes.Cut(after, []byte("\r\n--"))
	var params struct {
		Latencies struct {
			Transform struct {
				Infer struct{ Network float64 }
			}
		}
	}
	if err := json.Unmarshal(text, &params); err != nil {
		return 0, err
	}
	network := params.Latencies.Transform.Infer.Network
	if network <= 0 || network > total {
		return 0, fmt.Errorf("the network is said to take %g s of %g s", network, total)
	}
	return 1 - network/total, nil
}
