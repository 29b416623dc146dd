package cli

import (
	"bytes"
	"os"

	"github.com/voxloop/voxloop/apps"
	"github.com/voxloop/voxloop/conf"
	"github.com/voxloop/voxloop/internal/fault"
)

// webhookOptions reads the file that the webhook's configuration names.
func webhookOptions(c conf.Webhook) (apps.WebhookOptions, error) {
	o := apps.WebhookOptions{URL: c.URL}
	for _, name := range c.Events {
		o.Types = append(o.Types, apps.EventType(name))
	}
	if c.SecretFile == "" {
		return o, nil
	}
	secret, err := os.ReadFile(c.SecretFile)
	if err != nil {
		return o, fault.Wrap(fault.NotFound, err, "webhook.secret_file: %s cannot be read", c.SecretFile)
	}
	if o.Secret = bytes.TrimRight(secret, "\r\n"); len(o.Secret) == 0 {
		return o, fault.New(fault.Invalid, "webhook.secret_file: %s is empty", c.SecretFile)
	}
	return o, nil
}
