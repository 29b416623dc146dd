package apps

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"time"
)

// uuidClock makes time-based UUIDs (RFC 9562, version 1). The node is random
// with the multicast bit set, as §6.10 asks of hosts that hide their address.
type uuidClock struct {
	mu   sync.Mutex
	last uint64
	node [8]byte // clock sequence and node
}

func newUUIDClock() *uuidClock {
	c := &uuidClock{}
	_, _ = rand.Read(c.node[:]) // never fails
	c.node[0] = c.node[0]&0x3f | 0x80
	c.node[2] |= 1
	return c
}

// gregorian is the time from 1582-10-15 to 1970-01-01 in units of 100 ns.
const gregorian = 0x01b21dd213814000

// next returns a new UUID; two calls never return the same one.
func (c *uuidClock) next(now time.Time) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := uint64(now.UnixNano()/100) + gregorian // positive until 2262
	t = max(t, c.last+1)
	c.last = t
	var b [16]byte
	binary.BigEndian.PutUint32(b[0:], uint32(t))             //nolint:gosec // time_low
	binary.BigEndian.PutUint16(b[4:], uint16(t>>32))         //nolint:gosec // time_mid
	binary.BigEndian.PutUint16(b[6:], uint16(t>>48)|0x1<<12) // time_hi and version
	copy(b[8:], c.node[:])
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
