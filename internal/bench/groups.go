package main

import (
	"context"
	"slices"
)

var (
	hippocampus = []string{"--model", "unet_hippo", "--image", "hippocampus_164"}
	ct          = []string{"--model", "unet_ct", "--image", "example_ct"}
	ready       = []string{"--ready", "/readyz"}
)

func benchStart(ctx context.Context, l *lab, t *table) error {
	ours, ref, err := l.pair(ctx, "cases", "start", ready, append(slices.Clone(hippocampus), "--runs-start", "3")...)
	if err != nil {
		return err
	}
	t.add("start to ready, 195 images and the CT", "s", "≤ 0.5", 3, ours, ref, "ready_s", "p50")
	t.add("RSS when ready", "MB", "≤ 150", 0, ours, ref, "rss_ready_mb")
	t.add("first inference after start", "s", "", 3, ours, ref, "first_infer_s", "p50")
	t.add("RSS after the first inference", "MB", "", 0, ours, ref, "rss_after_first_infer_mb")
	return nil
}

func benchHippocampus(ctx context.Context, l *lab, t *table) error {
	ours, ref, err := l.pair(ctx, "cases", "infer", nil, append(slices.Clone(hippocampus), "--runs-infer", "20", "--outputs", "image")...)
	if err != nil {
		return err
	}
	t.add("inference, hippocampus case, end to end", "s", "ratio ≥ 2", 4, ours, ref, "image", "p50")
	t.add("RSS after 20 of them", "MB", "ratio ≥ 4", 0, ours, ref, "rss_mb")
	ours, ref, err = l.pair(ctx, "cases", "load", nil, append(slices.Clone(hippocampus), "--duration", "15")...)
	if err != nil {
		return err
	}
	t.add("8 clients, hippocampus case", "requests/s", "", 1, ours, ref, "requests_per_s")
	t.add("8 clients, p99", "s", "", 3, ours, ref, "latency", "p99")
	t.add("8 clients, RSS peak", "MB", "", 0, ours, ref, "rss_peak_mb")
	return nil
}

func benchCT(ctx context.Context, l *lab, t *table) error {
	args := append(slices.Clone(ct), "--runs-infer", "3", "--outputs", "all", "--params", `{"result_extension": ".nrrd", "result_dtype": "uint8"}`)
	ours, ref, err := l.pair(ctx, "cases", "infer", nil, args...)
	if err != nil {
		return err
	}
	t.add("inference, CT case (1.5 mm, 96³ windows), end to end", "s", "ratio ≥ 2", 3, ours, ref, "all", "p50")
	t.add("RSS after the CT cases", "MB", "ratio ≥ 3", 0, ours, ref, "rss_mb")
	var shares []map[string]any
	for range l.o.rounds {
		s, err := l.outsideNetwork(ctx)
		if err != nil {
			return err
		}
		shares = append(shares, map[string]any{"share": 100 * s})
	}
	t.add("CT over HTTP: everything outside the network", "% of the time", "≤ 15", 1, shares, nil, "share")
	return nil
}

func benchInfo(ctx context.Context, l *lab, t *table) error {
	ours, ref, err := l.pair(ctx, "cases", "info", nil, append(slices.Clone(hippocampus), "--runs-info", "300", "--runs-infer", "3", "--outputs", "image")...)
	if err != nil {
		return err
	}
	t.add("`GET /info/` idle, p99, new connection each", "ms", "≤ 5", 2, ours, ref, "new_connection", "p99")
	ours, ref, err = l.pair(ctx, "cases", "block", nil, append(slices.Clone(hippocampus), "--runs-block", "40")...)
	if err != nil {
		return err
	}
	t.add("`GET /info/` during hippocampus inferences, p99", "ms", "≤ 15", 2, ours, ref, "info_during_infer", "p99")
	ours, ref, err = l.pair(ctx, "cases", "block", nil, append(slices.Clone(ct), "--runs-block", "3")...)
	if err != nil {
		return err
	}
	t.add("`GET /info/` during CT inferences, p99", "ms", "≤ 15", 2, ours, ref, "info_during_infer", "p99")
	return nil
}

func benchNext(ctx context.Context, l *lab, t *table) error {
	args := []string{
		"--runs-al", "200", "--strategies", "random",
		"--model", "unet_hippo", "--image", "case_000000", "--runs-infer", "3", "--outputs", "image",
	}
	ours, ref, err := l.pair(ctx, "2000", "al", nil, args...)
	if err != nil {
		return err
	}
	t.add("next sample `random`, 2,000 studies, p99", "ms", "≤ 5", 2, ours, ref, "random", "p99")
	var large []map[string]any
	for range l.o.rounds {
		m, err := l.section(ctx, "voxloop", l.ours("100000"), "al", args...)
		if err != nil {
			return err
		}
		large = append(large, m)
	}
	t.add("next sample `random`, 100,000 studies, p99", "ms", "≤ 5", 2, large, nil, "random", "p99")
	t.add("`GET /info/`, 100,000 studies, p50", "ms", "", 2, large, nil, "info", "p50")
	return nil
}
