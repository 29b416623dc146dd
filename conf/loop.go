package conf

import (
	"regexp"
	"time"
)

// Loop says when trainings start by themselves and how candidates are judged.
type Loop struct {
	Models     []string      `mapstructure:"models"`      // trainers that the schedule runs; empty: all
	Minutes    float64       `mapstructure:"minutes"`     // length of a scheduled training
	Config     string        `mapstructure:"config"`      // file with the configuration of these trainings
	Cron       []string      `mapstructure:"cron"`        // times of trainings
	NewLabels  int           `mapstructure:"new_labels"`  // a training after so many labels; 0: never
	NeedLabels bool          `mapstructure:"need_labels"` // no training at a time of cron without a new label
	Debounce   time.Duration `mapstructure:"debounce"`    // quiet time after the last label
	CoolDown   time.Duration `mapstructure:"cool_down"`   // after a training
	Windows    []string      `mapstructure:"windows"`     // times of day in which trainings may start; empty: always
	Missed     string        `mapstructure:"missed"`      // run, skip: times of cron that passed while the server was down

	HoldOut HoldOut `mapstructure:"holdout"`
	Gate    Gate    `mapstructure:"gate"`

	Rollback Rollback `mapstructure:"rollback"`
	Shadow   Shadow   `mapstructure:"shadow"`
}

// Rollback says when a version is taken out of service by itself.
type Rollback struct {
	Enabled  bool    `mapstructure:"enabled"`
	Errors   float64 `mapstructure:"errors"`   // share of inferences that fail
	Requests int     `mapstructure:"requests"` // fewest inferences for that
	Dice     float64 `mapstructure:"dice"`     // by how much the Dice of proposals with saved labels may fall
	Labels   int     `mapstructure:"labels"`   // fewest such labels
}

// Shadow says whether candidates run beside the version in service.
type Shadow struct {
	Enabled bool `mapstructure:"enabled"`
	Cases   int  `mapstructure:"cases"` // that are enough
}

// HoldOut says which subjects judge models and are never trained on.
type HoldOut struct {
	Share   float64 `mapstructure:"share"`   // of the subjects
	Least   int     `mapstructure:"least"`   // fewest subjects, as long as half of all remain
	Subject string  `mapstructure:"subject"` // regular expression that finds the subject in an image's id
}

// Gate says what a candidate must show.
type Gate struct {
	Margin float64 `mapstructure:"margin"` // Dice that a class may lose at most
	Level  float64 `mapstructure:"level"`  // of the one-sided tests
	Cases  int     `mapstructure:"cases"`  // fewest held-out cases for a verdict
	Slower float64 `mapstructure:"slower"` // times as long may an inference take
	Memory float64 `mapstructure:"memory"` // times as much memory may one take
}

func defaultLoop() Loop {
	return Loop{
		Minutes: 10, NeedLabels: true, Debounce: 5 * time.Minute, CoolDown: 10 * time.Minute, Missed: "skip",
		HoldOut: HoldOut{Share: 0.2, Least: 5}, Gate: Gate{Margin: 0.01, Level: 0.05, Cases: 5, Slower: 2, Memory: 2},
		Rollback: Rollback{Enabled: true, Errors: 0.2, Requests: 10, Dice: 0.1, Labels: 5}, Shadow: Shadow{Cases: 50},
	}
}

// checkLoop looks at the numbers; expressions of cron and windows are reported
// by whoever reads them.
func (c *Config) checkLoop() error {
	l := c.Loop
	switch {
	case l.Minutes <= 0 || l.Minutes > 60*24*7:
		return bad("loop.minutes", "%g is not within a moment and a week", l.Minutes)
	case l.NewLabels < 0:
		return bad("loop.new_labels", "%d is negative", l.NewLabels)
	case l.Debounce < 0:
		return bad("loop.debounce", "%s is negative", l.Debounce)
	case l.CoolDown < 0:
		return bad("loop.cool_down", "%s is negative", l.CoolDown)
	case l.HoldOut.Share <= 0 || l.HoldOut.Share > 0.5:
		return bad("loop.holdout.share", "%g is not within (0, 0.5]", l.HoldOut.Share)
	case l.HoldOut.Least < 1:
		return bad("loop.holdout.least", "%d is not at least 1", l.HoldOut.Least)
	case l.Gate.Margin <= 0 || l.Gate.Margin >= 1:
		return bad("loop.gate.margin", "%g is not within (0, 1)", l.Gate.Margin)
	case l.Gate.Level <= 0 || l.Gate.Level >= 0.5:
		return bad("loop.gate.level", "%g is not within (0, 0.5)", l.Gate.Level)
	case l.Gate.Cases < 1:
		return bad("loop.gate.cases", "%d is not at least 1", l.Gate.Cases)
	case !(l.Gate.Slower >= 1):
		return bad("loop.gate.slower", "%g is not at least 1", l.Gate.Slower)
	case !(l.Gate.Memory >= 1):
		return bad("loop.gate.memory", "%g is not at least 1", l.Gate.Memory)
	case !(l.Rollback.Errors > 0 && l.Rollback.Errors <= 1):
		return bad("loop.rollback.errors", "%g is not within (0, 1]", l.Rollback.Errors)
	case l.Rollback.Requests < 1:
		return bad("loop.rollback.requests", "%d is not at least 1", l.Rollback.Requests)
	case !(l.Rollback.Dice > 0 && l.Rollback.Dice <= 1):
		return bad("loop.rollback.dice", "%g is not within (0, 1]", l.Rollback.Dice)
	case l.Rollback.Labels < 1:
		return bad("loop.rollback.labels", "%d is not at least 1", l.Rollback.Labels)
	case l.Shadow.Cases < 1:
		return bad("loop.shadow.cases", "%d is not at least 1", l.Shadow.Cases)
	}
	if _, err := regexp.Compile(l.HoldOut.Subject); err != nil {
		return bad("loop.holdout.subject", "%q is no regular expression: %v", l.HoldOut.Subject, err)
	}
	return oneOf("loop.missed", l.Missed, []string{"run", "skip"})
}
