package server

import (
	"testing"

	"github.com/voxloop/voxloop/apps"
)

func realApp(t testing.TB) *apps.App { return testApp(t, nil) }
