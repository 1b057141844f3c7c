package httpapi

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
)

// addressError is a connection that was not made, as the address is off limits.
type addressError struct {
	addr   netip.Addr
	reason string
}

func (e *addressError) Error() string { return fmt.Sprintf("address %s is %s", e.addr, e.reason) }

// guard returns the check that a [net.Dialer] makes of each address it is about to connect to, after names are resolved: an
// earlier look at the name would prove nothing, as the next answer may be another.
func guard(private bool) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return check(to.Addr(), private)
	}
}

var (
	nat64   = netip.MustParsePrefix("64:ff9b::/96")
	sixTo4  = netip.MustParsePrefix("2002::/16")
	thisNet = netip.MustParsePrefix("0.0.0.0/8")
	shared  = netip.MustParsePrefix("100.64.0.0/10")
	// Where clouds keep the credentials of their machines, outside the link-local ranges.
	metadata = []netip.Addr{netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("168.63.129.16")}
)

// check refuses what no provider lives at, and, unless private is set, this machine and its networks.
func check(addr netip.Addr, private bool) error {
	addr = addr.Unmap().WithZone("")
	b := addr.As16()
	switch { // IPv6 addresses that lead to an IPv4 address
	case nat64.Contains(addr):
		return check(netip.AddrFrom4([4]byte(b[12:16])), private)
	case sixTo4.Contains(addr):
		return check(netip.AddrFrom4([4]byte(b[2:6])), private)
	}
	for _, m := range metadata {
		if addr == m {
			return &addressError{addr, "a cloud's metadata service"}
		}
	}
	switch {
	case addr.IsUnspecified(), thisNet.Contains(addr):
		return &addressError{addr, "unspecified"}
	case addr.IsLinkLocalUnicast():
		return &addressError{addr, "link-local, where clouds keep credentials"}
	case addr.IsMulticast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return &addressError{addr, "no single machine's"}
	case private:
		return nil
	case addr.IsLoopback():
		return &addressError{addr, "this machine, and private addresses are not allowed"}
	case addr.IsPrivate(), shared.Contains(addr):
		return &addressError{addr, "private, and private addresses are not allowed"}
	}
	return nil
}

// isLocal tells whether a host of a URL says by itself that it is near: localhost, a private address, or a name without a dot,
// as machines of one network and containers have. Whoever writes such a host means it.
func isLocal(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return check(addr, false) != nil
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	// A name of nothing but digits, as in http://2130706433/, is an address in disguise.
	return host != "" && !strings.Contains(host, ".") && host[0] >= 'a' && host[0] <= 'z'
}
