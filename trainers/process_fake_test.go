package trainers

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fakeEnv names what the re-executed test binary does as a trainer.
const fakeEnv = "VOXLOOP_TEST_TRAINER"

// fake returns a Process whose program is this test binary, acting out a part.
func fake(t *testing.T, act string) *Process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &Process{Command: []string{exe, "-test.run=^TestFakeTrainer$"}, Env: []string{fakeEnv + "=" + act, "GORACE=atexit_sleep_ms=0"}}
}

// TestFakeTrainer is not a test: it is the program that the tests of Process
// start.
func TestFakeTrainer(*testing.T) {
	act := os.Getenv(fakeEnv)
	if act == "" {
		return
	}
	part, arg, _ := strings.Cut(act, ":")
	in := bufio.NewReader(os.Stdin)
	var r Request
	if part != "deaf" {
		line, err := in.ReadBytes('\n')
		if err != nil || json.Unmarshal(line, &r) != nil {
			fmt.Println(`{"event":"failed","fault":"invalid","message":"the request cannot be read"}`)
			os.Exit(1)
		}
	}
	fakeParts[part](in, r, arg)
	os.Exit(0)
}

func say(e Event) {
	b, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(b))
}

func writeModel(r Request) {
	for _, name := range modelFiles {
		if err := os.MkdirAll(r.Out, 0o750); err != nil {
			panic(err)
		}
		if err := os.WriteFile(filepath.Join(r.Out, name), []byte("x"), 0o600); err != nil {
			panic(err)
		}
	}
}

// ignoreTerm makes SIGTERM powerless.
func ignoreTerm() { signal.Ignore(syscall.SIGTERM) }

var fakeParts = map[string]func(in io.Reader, r Request, arg string){
	"train": func(_ io.Reader, r Request, _ string) {
		say(Event{Kind: Started, Steps: 4, Epochs: 2, Batch: 2, Patch: []int{8, 8, 8}})
		for step := 1; step <= 4; step++ {
			say(Event{Kind: Progress, Step: step, Steps: 4, Epoch: (step + 1) / 2, Epochs: 2, Loss: 1 / float64(step)})
		}
		say(Event{Kind: Warned, Message: "case c3 was left out"})
		say(Event{Kind: Validated, Epoch: 2, Dice: map[string]float64{"a": 0.5}, Mean: 0.5, Best: true})
		writeModel(r)
		say(Event{Kind: Finished, Result: &Result{Model: "/elsewhere", Steps: 4, Epochs: 2, Mean: 0.5}})
	},
	"terse": func(_ io.Reader, r Request, _ string) {
		say(Event{Kind: Progress, Step: 7, Epoch: 3})
		say(Event{Kind: Warned, Message: "w"})
		writeModel(r)
		fmt.Println(`{"event":"finished"}`)
	},
	"echo": func(_ io.Reader, r Request, _ string) { // tells what it was given
		wd, _ := os.Getwd()
		prio, _ := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
		say(Event{Kind: Warned, Message: fmt.Sprintf("%d %s %d cases, epochs %d, in %s, priority %d, group %v",
			r.Protocol, r.Device, len(r.Cases), r.Config.Epochs, filepath.Base(wd), 20-prio, syscall.Getpgrp() == os.Getpid())})
		writeModel(r)
		say(Event{Kind: Finished})
	},
	"refuse": func(io.Reader, Request, string) {
		fmt.Fprintln(os.Stderr, "the last words")
		say(Event{Kind: Broke, Fault: "no space", Message: "the disk is full\nat step 7"})
		os.Exit(1)
	},
	"refuse strangely": func(io.Reader, Request, string) { say(Event{Kind: Broke, Fault: "gremlins"}) },
	"silent":           func(io.Reader, Request, string) {},
	"exit": func(_ io.Reader, _ Request, arg string) {
		fmt.Fprintln(os.Stderr, "ModuleNotFoundError: No module named 'monai'")
		code, _ := strconv.Atoi(arg)
		os.Exit(code)
	},
	"signal": func(_ io.Reader, _ Request, arg string) {
		n, _ := strconv.Atoi(arg)
		signal.Reset()
		_ = syscall.Kill(os.Getpid(), syscall.Signal(n))
		forever()
	},
	"half": func(_ io.Reader, r Request, _ string) { // leaves a half-written model
		writeModel(r)
		os.Exit(3)
	},
	"liar": func(io.Reader, Request, string) { say(Event{Kind: Finished, Result: &Result{Steps: 1}}) },
	"lingering": func(_ io.Reader, r Request, _ string) { // does not end after the last event
		ignoreTerm()
		writeModel(r)
		say(Event{Kind: Finished, Result: &Result{Steps: 1}})
		forever()
	},
	"obedient": func(in io.Reader, _ Request, _ string) { // ends when its input does
		ignoreTerm()
		say(Event{Kind: Started})
		_, _ = io.Copy(io.Discard, in)
		say(Event{Kind: Broke, Fault: "canceled", Message: "stopped"})
		os.Exit(1)
	},
	"polite": func(io.Reader, Request, string) { // dies of SIGTERM
		say(Event{Kind: Started})
		signal.Reset()
		forever()
	},
	"stubborn": func(_ io.Reader, _ Request, arg string) { // with a child as stubborn as itself
		ignoreTerm()
		c := exec.Command("sh", "-c", `trap "" TERM; echo $$ > "$0"; while :; do sleep 0.05; done`, arg)
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Start(); err != nil {
			panic(err)
		}
		for {
			if b, err := os.ReadFile(arg); err == nil && len(b) > 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		say(Event{Kind: Started})
		forever()
	},
	"orphan": func(_ io.Reader, r Request, arg string) { // leaves a child that holds the pipes
		c := exec.Command("sh", "-c", `echo $$ > "$0"; exec sleep 60`, arg)
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Start(); err != nil {
			panic(err)
		}
		for {
			if b, err := os.ReadFile(arg); err == nil && len(b) > 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		writeModel(r)
		say(Event{Kind: Finished})
	},
	"garbage": func(_ io.Reader, r Request, arg string) {
		n, _ := strconv.Atoi(arg)
		for i := range n {
			fmt.Printf("progress %d %%\t[====>   ]\n", i)
		}
		writeModel(r)
		say(Event{Kind: Finished})
		forever()
	},
	"endless line": func(io.Reader, Request, string) {
		ignoreTerm()
		b := []byte(strings.Repeat("A", 1<<16))
		for {
			if _, err := os.Stdout.Write(b); err != nil {
				os.Exit(1)
			}
		}
	},
	"chatty": func(_ io.Reader, r Request, _ string) { // floods its log
		for i := range 20000 {
			fmt.Fprintf(os.Stderr, "line %d %s\n", i, strings.Repeat("x", 100))
		}
		fmt.Fprintln(os.Stderr, strings.Repeat("y", 3*maxLogLine))
		writeModel(r)
		say(Event{Kind: Finished})
	},
	"deaf": func(io.Reader, Request, string) { // never reads its request
		fmt.Println(`{"event":"failed","message":"I do not read"}`)
	},
	"hostile": func(_ io.Reader, r Request, _ string) {
		fmt.Println(`{"event":"progress","step":-5,"epoch":-1,"loss":1e308,"dice":{"\u0000":3}}`)
		fmt.Println(`{"event":"progress","step":"many"}`)
		fmt.Println(`{"event":"progress","loss":NaN}`)
		fmt.Println(`{"event":""}`)
		fmt.Println(`[1,2]`)
		fmt.Println("{\"event\":\"warning\",\"message\":\"\xff\\n" + strings.Repeat("m", 5000) + "\"}")
		fmt.Println(`{"event":"invented","step":3}`)
		writeModel(r)
		say(Event{Kind: Finished})
		say(Event{Kind: Broke, Message: "after the end"})
	},
}

// forever sleeps: the runtime would take a select without cases for a deadlock.
func forever() { time.Sleep(time.Hour) }
