package pgdbm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Defaults of [Config].
const (
	DefaultConnectTimeout           = 10 * time.Second // 3 s where there are several hosts to try
	DefaultConnectAttempts          = 5
	DefaultAcquireTimeout           = 5 * time.Second
	DefaultStatementTimeout         = 60 * time.Second
	DefaultIdleInTransactionTimeout = 60 * time.Second
	DefaultLockTimeout              = 5 * time.Second
)

// Config describes a pool to open. The zero value of a field means its
// default; a negative duration means "no limit".
type Config struct {
	// URL is a PostgreSQL URL or key/value string as libpq takes them. Everything
	// it leaves out comes from the environment (PGHOST, PGUSER, …), .pgpass and
	// the service file; "" takes all of it from there. TLS (sslmode and friends),
	// several hosts and target_session_attrs are read from here as well.
	URL string

	// Pgx is an alternative to URL, for settings that no URL can express. It is
	// copied. Setting both is an error.
	Pgx *pgxpool.Config

	// MinConns and MaxConns bound the pool. They default to what URL (pool_min_conns,
	// pool_max_conns) or Pgx say, else to pgx's own: 0, and the greater of 4 and
	// the number of CPUs.
	MinConns, MaxConns int32

	// ConnectTimeout limits one attempt to connect to one host. Defaults to that of
	// URL or Pgx, else to 10 s, or to 3 s where there are several hosts: the next
	// one is waiting.
	ConnectTimeout time.Duration

	// ConnectAttempts is how often Open tries while the server cannot be reached
	// or is starting up, with growing pauses. A wrong password or an unknown
	// database is never tried twice. Defaults to 5, about 3 s of pauses.
	ConnectAttempts int

	// AcquireTimeout limits the wait for a free connection; after it a call fails
	// with ErrPoolExhausted. Defaults to 5 s. Negative: only the context limits.
	AcquireTimeout time.Duration

	// StatementTimeout, IdleInTransactionTimeout and LockTimeout are limits that
	// the server enforces. They default to 60 s, 60 s and 5 s. What URL or Pgx set
	// as run-time parameters wins. They are start-up parameters of the
	// connection; behind a transaction pooler that refuses those, every
	// transaction sets them for itself, and StatementTimeout is enforced by a
	// context deadline for single calls.
	StatementTimeout, IdleInTransactionTimeout, LockTimeout time.Duration

	// ApplicationName is what pg_stat_activity shows. Defaults to that of URL or
	// Pgx, else to "pgdbm".
	ApplicationName string

	// Tracer is told of every call. Nil means none.
	Tracer Tracer

	// Logger receives what no caller is told otherwise: connect attempts that
	// failed and are repeated, migrations applied or waited for. Nil means silence.
	Logger *slog.Logger
}

// Validate reports every fault of c at once, each with the name of its field.
// It does not look at the network.
func (c Config) Validate() error {
	_, err := c.poolConfig()
	return err
}

// setting is a server-side limit.
type setting struct {
	name  string
	value time.Duration
}

// poolConfig validates c and translates it.
func (c Config) poolConfig() (*pgxpool.Config, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	var pc *pgxpool.Config
	switch {
	case c.URL != "" && c.Pgx != nil:
		fault("URL and Pgx exclude each other")
	case c.Pgx != nil:
		pc = c.Pgx.Copy()
	default:
		var err error
		if pc, err = pgxpool.ParseConfig(c.URL); err != nil {
			faults = append(faults, parseError(c.URL, err))
		} else if misread(c.URL) {
			faults = append(faults, errNotURL)
		}
	}
	if c.MinConns < 0 {
		fault("MinConns is %d, must not be negative", c.MinConns)
	}
	if c.MaxConns < 0 {
		fault("MaxConns is %d, must not be negative", c.MaxConns)
	}
	if c.MaxConns > 0 && c.MinConns > c.MaxConns {
		fault("MinConns is %d, more than MaxConns, which is %d", c.MinConns, c.MaxConns)
	}
	if c.ConnectAttempts < 0 {
		fault("ConnectAttempts is %d, must not be negative", c.ConnectAttempts)
	}
	if c.ConnectTimeout < 0 {
		fault("ConnectTimeout is %v, must not be negative", c.ConnectTimeout)
	}
	if strings.ContainsRune(c.ApplicationName, 0) {
		fault("ApplicationName contains a NUL byte")
	}
	for _, s := range c.settings() {
		if s.value > 0 && s.value < time.Millisecond {
			fault("%s is %v, the server counts in milliseconds", s.name, s.value)
		}
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("pgdbm: %w: %w", ErrConfig, errors.Join(faults...))
	}

	if c.MaxConns > 0 {
		pc.MaxConns = c.MaxConns
	}
	if c.MinConns > 0 {
		pc.MinConns = c.MinConns
	}
	if pc.MinConns > pc.MaxConns {
		return nil, fmt.Errorf("pgdbm: %w: MinConns is %d, more than the pool's maximum of %d", ErrConfig, pc.MinConns, pc.MaxConns)
	}
	conn := pc.ConnConfig
	if c.ConnectTimeout > 0 {
		conn.ConnectTimeout = c.ConnectTimeout
	} else if conn.ConnectTimeout == 0 || c.Pgx == nil && conn.ConnectTimeout == pgxDefaultConnectTimeout {
		conn.ConnectTimeout = DefaultConnectTimeout
		if severalHosts(conn.Config) {
			conn.ConnectTimeout = severalConnectTimeout
		}
	}
	if conn.RuntimeParams == nil {
		conn.RuntimeParams = map[string]string{}
	}
	if c.ApplicationName != "" {
		conn.RuntimeParams["application_name"] = c.ApplicationName
	} else if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "pgdbm"
	}
	for _, s := range c.settings() {
		if _, ok := conn.RuntimeParams[s.name]; !ok && s.value > 0 {
			conn.RuntimeParams[s.name] = strconv.FormatInt(s.value.Milliseconds(), 10)
		}
	}
	return pc, nil
}

// pgxDefaultConnectTimeout is what pgconn.ParseConfig sets when nothing else does.
const pgxDefaultConnectTimeout = 2 * time.Minute

// severalConnectTimeout is the default ConnectTimeout with several hosts.
const severalConnectTimeout = 3 * time.Second

// severalHosts tells whether there is another server to fall back on, and not
// only another way to reach the first, with or without TLS.
func severalHosts(c pgconn.Config) bool {
	return slices.ContainsFunc(c.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.Host != c.Host || f.Port != c.Port })
}

// settings returns the server-side limits with defaults filled in; a value of
// zero or less is not sent.
func (c Config) settings() []setting {
	return []setting{
		{"statement_timeout", cmp.Or(c.StatementTimeout, DefaultStatementTimeout)},
		{"idle_in_transaction_session_timeout", cmp.Or(c.IdleInTransactionTimeout, DefaultIdleInTransactionTimeout)},
		{"lock_timeout", cmp.Or(c.LockTimeout, DefaultLockTimeout)},
	}
}

func isURL(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

var errNotURL = errors.New("URL is not a valid URL (special characters of a password must be percent-encoded, see url.UserPassword)")

// misread reports whether a URL has the mark of a password with an @ or / that
// was not encoded: an @ behind the one that ends user and password for libpq. The
// host is then a part of the password, and the error of connecting would show it.
func misread(dsn string) bool {
	if !isURL(dsn) {
		return false
	}
	_, rest, _ := strings.Cut(dsn, "://")
	if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' {
		rest = rest[i+1:]
	}
	place, query, _ := strings.Cut(rest, "?")
	for pair := range strings.SplitSeq(query, "&") {
		if key, _, _ := strings.Cut(pair, "="); strings.Contains(key, "@") {
			return true
		}
	}
	return strings.Contains(place, "@")
}

// parseError says what is wrong with a connection string without any part of
// it that could be a password. pgx's error carries the whole string in a public
// field, and the error of net/url quotes whatever it stumbled over, so neither
// is wrapped.
func parseError(dsn string, err error) error {
	secrets := []string{}
	if isURL(dsn) {
		u, urlErr := url.Parse(dsn)
		if urlErr != nil || misread(dsn) {
			return errNotURL
		}
		if password, ok := u.User.Password(); ok {
			secrets = append(secrets, password, url.QueryEscape(password), strings.TrimPrefix(u.User.String(), u.User.Username()+":"))
		}
		for _, key := range []string{"password", "sslpassword"} {
			secrets = append(secrets, u.Query()[key]...)
		}
	} else {
		for _, m := range passwordPattern.FindAllStringSubmatch(dsn, -1) {
			secrets = append(secrets, m[1], strings.Trim(m[1], "'"))
		}
		if len(secrets) == 0 && strings.Contains(strings.ToLower(dsn), "password") {
			return errors.New("URL is not a valid connection string")
		}
	}
	// Its form is: cannot parse `the string, redacted as well as possible`: reason
	text := err.Error()
	if i := strings.LastIndex(text, "`: "); i >= 0 {
		text = text[i+len("`: "):]
	}
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "xxxxx")
		}
	}
	return errors.New("URL cannot be parsed: " + text)
}

// permanent reports whether trying to connect again is useless. What the server
// said decides; what the network said may change.
func permanent(err error) bool {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		switch {
		case pgErr.Code == "57P03", pgErr.Code == "57P01", pgErr.Code == "57P02": // starting, stopping
			return false
		case strings.HasPrefix(pgErr.Code, "53"), strings.HasPrefix(pgErr.Code, "58"): // out of something
			return false
		}
		return true
	}
	return errors.Is(err, context.Canceled)
}

// refusesParameters reports whether a pooler rejected a start-up parameter.
// PgBouncer knows five of them and ends the connection at any other.
func refusesParameters(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "08P01" && strings.Contains(pgErr.Message, "startup parameter")
}
