package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/voxloop/voxloop/conf"
	"github.com/voxloop/voxloop/internal/fault"
)

// listen opens the port, with TLS when a certificate is configured. HTTP/2 is
// not offered: clients of the protocol depend on HTTP/1.1's connection rules.
func listen(ctx context.Context, c conf.Config) (net.Listener, error) {
	var certificate []tls.Certificate
	if c.TLS.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
		if err != nil {
			return nil, &usageError{fmt.Errorf("tls: %w", err)}
		}
		certificate = []tls.Certificate{pair}
	}
	address := net.JoinHostPort(c.Host, strconv.Itoa(c.Port))
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fault.New(fault.Conflict, "port %d on %s is already in use: stop the other program or choose another --port", c.Port, c.Host)
	case errors.Is(err, syscall.EACCES):
		return nil, fault.New(fault.Unavailable, "port %d may not be opened by this user: choose a --port from 1024 on", c.Port)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	if certificate != nil {
		l = tls.NewListener(l, &tls.Config{Certificates: certificate, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	}
	return l, nil
}

// clientURL returns the address that a client on this machine uses.
func clientURL(addr net.Addr, c conf.Config) string {
	scheme, host := "http", c.Host
	if c.TLS.Cert != "" {
		scheme = "https"
	}
	if ip := net.ParseIP(c.Host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	port := c.Port
	if tcp, ok := addr.(*net.TCPAddr); ok {
		port = tcp.Port
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port)) + c.APIPrefix + "/"
}
