package conf

import (
	"net/url"
)

// Webhook says who is told by HTTP of what happens.
type Webhook struct {
	URL        string   `mapstructure:"url"`         // empty: nobody
	SecretFile string   `mapstructure:"secret_file"` // its content signs what is sent; empty: it is not signed
	Events     []string `mapstructure:"events"`      // those told; empty: all
}

func (c *Config) checkWebhook() error {
	w := c.Webhook
	if u, err := url.Parse(w.URL); w.URL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return bad("webhook.url", "it is no address such as https://host/path") // without the address, which may hold a password
	}
	if w.URL == "" && w.SecretFile != "" {
		return bad("webhook.secret_file", "there is no webhook.url to sign for")
	}
	return nil
}
