package cli

import (
	"os"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/conf"
	"github.com/voxloop/voxloop/internal/fault"
	"github.com/voxloop/voxloop/trainers"
	"github.com/voxloop/voxloop/trainers/gate"
	"github.com/voxloop/voxloop/trainers/schedule"
)

// loopOptions reads what the loop's configuration names.
func loopOptions(c conf.Loop) (apps.LoopOptions, error) {
	o := apps.LoopOptions{
		Models: c.Models, Minutes: c.Minutes,
		Schedule: schedule.Options{
			Cron: c.Cron, NewLabels: c.NewLabels, NeedLabels: c.NeedLabels, Debounce: c.Debounce, CoolDown: c.CoolDown,
			Windows: c.Windows, Missed: c.Missed,
		},
		HoldOut: apps.HoldOutOptions{Share: c.HoldOut.Share, Least: c.HoldOut.Least, Subject: c.HoldOut.Subject},
		Gate:    gate.Options{Margin: c.Gate.Margin, Level: c.Gate.Level, Cases: c.Gate.Cases, Slower: c.Gate.Slower, Memory: c.Gate.Memory},
		Rollback: apps.RollbackOptions{
			Off: !c.Rollback.Enabled, Errors: c.Rollback.Errors, Requests: c.Rollback.Requests, Dice: c.Rollback.Dice, Labels: c.Rollback.Labels,
		},
		Shadow: apps.ShadowOptions{On: c.Shadow.Enabled, Cases: c.Shadow.Cases},
	}
	if c.Config == "" {
		return o, nil
	}
	text, err := os.ReadFile(c.Config)
	if err != nil {
		return o, fault.Wrap(fault.NotFound, err, "loop.config: %s cannot be read", c.Config)
	}
	o.Config, err = trainers.ParseConfig(text)
	return o, err
}
