package modelfile

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// pypi is the index that pip uses when nothing else is configured.
const pypi = "https://pypi.org/simple"

// PipConfig is what pip is configured to do when it fetches packages.
type PipConfig struct {
	// Indexes are the addresses of package indexes, credentials included.
	Indexes []string
	// FindLinks are folders, and addresses of pages, that have packages too.
	FindLinks []string
	// TrustedHosts are hosts, or hosts with ports, whose certificates are not checked and that may be asked in the clear.
	TrustedHosts []string
	// Cert is a file of certificates to trust, ClientCert one with a certificate and key to show; "" for the system's and none.
	Cert, ClientCert string
	// Proxy is the proxy to use, "" for what HTTPS_PROXY and the like say.
	Proxy string
	// Timeout is how long a server may be silent.
	Timeout time.Duration
}

// ReadPipConfig reads pip's configuration as pip does: the files of the machine, the user and the virtual environment, the one
// that PIP_CONFIG_FILE names (the null device there means none), and the variables PIP_*. Of the files' sections it takes global,
// install and download, in rising order. What pip would refuse is an error; files that are not there are none.
func ReadPipConfig(env func(string) string) (*PipConfig, error) {
	return readPipConfig(runtime.GOOS, "/", env)
}

// readPipConfig is ReadPipConfig on an operating system whose own files are below system.
func readPipConfig(goos, system string, env func(string) string) (*PipConfig, error) {
	files := map[string]map[string]string{} // section → key → value; later files override
	if named := env("PIP_CONFIG_FILE"); named != os.DevNull {
		for _, name := range append(pipFiles(goos, system, env), named) {
			if err := readIni(name, files); err != nil {
				return nil, fmt.Errorf("pip's configuration: %w", err)
			}
		}
	}
	values := map[string]string{}
	for _, section := range []string{"global", "install", "download"} {
		for k, v := range files[section] {
			if v != "" {
				values[k] = v
			}
		}
	}
	for _, key := range []string{"index-url", "pypi-url", "extra-index-url", "no-index", "find-links", "trusted-host", "cert", "client-cert",
		"proxy", "timeout", "default-timeout"} {
		if v := env("PIP_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))); v != "" {
			values[key] = v
		}
	}
	c := &PipConfig{
		FindLinks: strings.Fields(values["find-links"]), TrustedHosts: strings.Fields(values["trusted-host"]),
		Cert: values["cert"], ClientCert: values["client-cert"], Proxy: values["proxy"], Timeout: 15 * time.Second,
	}
	for _, fallback := range []string{"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"} {
		if c.Cert == "" {
			c.Cert = env(fallback)
		}
	}
	none, err := pipBool(values["no-index"])
	if err != nil {
		return nil, fmt.Errorf("pip's configuration: no-index: %w", err)
	}
	if !none {
		index := first(values["index-url"], values["pypi-url"], pypi)
		c.Indexes = append([]string{index}, strings.Fields(values["extra-index-url"])...)
	}
	if text := first(values["timeout"], values["default-timeout"]); text != "" {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || !(seconds > 0) {
			return nil, fmt.Errorf("pip's configuration: timeout %q is no number of seconds", text)
		}
		c.Timeout = time.Duration(min(seconds, 3600) * float64(time.Second))
	}
	return c, nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// pipBool reads a boolean as Python's strtobool does.
func pipBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "", "n", "no", "f", "false", "off", "0":
		return false, nil
	case "y", "yes", "t", "true", "on", "1":
		return true, nil
	}
	return false, fmt.Errorf("%q is neither yes nor no", text)
}

// pipFiles are the files that pip reads, in rising order.
func pipFiles(goos, system string, env func(string) string) []string {
	home := env("HOME")
	var files []string
	add := func(root string, elem ...string) {
		if root != "" {
			files = append(files, filepath.Join(append([]string{root}, elem...)...))
		}
	}
	switch goos {
	case "windows":
		profile := first(env("USERPROFILE"), home)
		add(env("ProgramData"), "pip", "pip.ini")
		add(profile, "pip", "pip.ini")
		add(env("APPDATA"), "pip", "pip.ini")
		add(env("VIRTUAL_ENV"), "pip.ini")
		return files
	case "darwin":
		add(system, "Library", "Application Support", "pip", "pip.conf")
		add(home, ".pip", "pip.conf")
		support := filepath.Join(home, "Library", "Application Support", "pip")
		if info, err := os.Stat(support); err == nil && info.IsDir() && home != "" {
			add(support, "pip.conf")
		} else {
			add(home, ".config", "pip", "pip.conf")
		}
	default:
		for _, dir := range filepath.SplitList(first(env("XDG_CONFIG_DIRS"), "/etc/xdg")) {
			add(dir, "pip", "pip.conf")
		}
		add(system, "etc", "pip.conf")
		add(home, ".pip", "pip.conf")
		if dir := env("XDG_CONFIG_HOME"); dir != "" {
			add(dir, "pip", "pip.conf")
		} else {
			add(home, ".config", "pip", "pip.conf")
		}
	}
	add(env("VIRTUAL_ENV"), "pip.conf")
	return files
}

// readIni adds the sections of a file as Python's RawConfigParser reads them, keys in pip's normal form.
func readIni(name string, into map[string]map[string]string) error {
	if name == "" {
		return nil
	}
	raw, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	sections, err := parseIni(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for section, values := range sections {
		if into[section] == nil {
			into[section] = map[string]string{}
		}
		for k, v := range values {
			into[section][k] = v
		}
	}
	return nil
}

func parseIni(raw []byte) (map[string]map[string]string, error) {
	sections := map[string]map[string]string{}
	var values map[string]string
	key := ""
	scanner := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(raw, []byte("\ufeff"))))
	for n := 1; scanner.Scan(); n++ {
		line := strings.TrimRight(scanner.Text(), " \t\r")
		text := strings.TrimLeft(line, " \t")
		switch {
		case text == "", text[0] == '#', text[0] == ';':
		case len(text) < len(line) && key != "": // a further line of the value
			values[key] = strings.TrimLeft(values[key]+"\n"+text, "\n")
		case text[0] == '[':
			section, _, ok := strings.Cut(text[1:], "]")
			if !ok {
				return nil, fmt.Errorf("line %d: a section without its \"]\"", n)
			}
			if values = sections[section]; values == nil {
				values = map[string]string{}
				sections[section] = values
			}
			key = ""
		case values == nil:
			return nil, fmt.Errorf("line %d: is before the first section", n)
		default:
			at := strings.IndexAny(text, "=:")
			if at <= 0 {
				return nil, fmt.Errorf("line %d: is no KEY = VALUE", n)
			}
			key = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(text[:at])), "_", "-")
			key = strings.TrimPrefix(key, "--")
			values[key] = strings.TrimSpace(text[at+1:])
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, err
	}
	for section, values := range sections {
		if section == "DEFAULT" {
			continue
		}
		for k, v := range sections["DEFAULT"] { // holds for every section
			if _, ok := values[k]; !ok {
				values[k] = v
			}
		}
	}
	return sections, nil
}

// trusts tells whether a host is one of those that are trusted as they are.
func (c *PipConfig) trusts(u *url.URL) bool {
	for _, h := range c.TrustedHosts {
		name, port, err := net.SplitHostPort(h)
		if err != nil {
			name, port = strings.Trim(h, "[]"), ""
		}
		if strings.EqualFold(name, u.Hostname()) && (port == "" || port == portOf(u)) {
			return true
		}
	}
	return false
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "http":
		return "80"
	}
	return "443"
}

// roots are the certificates of Cert, nil for the system's.
func (c *PipConfig) roots() (*x509.CertPool, error) {
	if c.Cert == "" {
		return nil, nil
	}
	info, err := os.Stat(c.Cert)
	if err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	names := []string{c.Cert}
	if info.IsDir() { // as OpenSSL has them: a file each
		if names, err = filepath.Glob(filepath.Join(c.Cert, "*")); err != nil {
			return nil, fmt.Errorf("certificates: %w", err)
		}
	}
	pool, found := x509.NewCertPool(), false
	for _, name := range names {
		if pem, err := os.ReadFile(name); err == nil {
			found = pool.AppendCertsFromPEM(pem) || found
		}
	}
	if !found {
		return nil, fmt.Errorf("certificates: there is none in %s", c.Cert)
	}
	return pool, nil
}

// netrc returns the login for a host of the file that NETRC names, else of .netrc or _netrc in the home folder.
func netrc(env func(string) string, host string) (user, password string, ok bool) {
	names := []string{env("NETRC")}
	if names[0] == "" {
		home := first(env("HOME"), env("USERPROFILE"))
		if home == "" {
			return "", "", false
		}
		names = []string{filepath.Join(home, ".netrc"), filepath.Join(home, "_netrc")}
	}
	for _, name := range names {
		if raw, err := os.ReadFile(name); err == nil {
			return parseNetrc(string(raw), host)
		}
	}
	return "", "", false
}

func parseNetrc(text, host string) (user, password string, ok bool) {
	var words []string
	macro := false // a macro ends with an empty line
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if macro {
			macro = line != ""
			continue
		}
		for _, w := range strings.Fields(line) {
			if strings.HasPrefix(w, "#") && !(len(words) > 0 && (words[len(words)-1] == "password" || words[len(words)-1] == "login")) {
				break
			}
			if w == "macdef" {
				macro = true
				break
			}
			words = append(words, w)
		}
	}
	here := false
	for i := 0; i < len(words); i++ {
		next := ""
		if i+1 < len(words) {
			next = words[i+1]
		}
		switch words[i] {
		case "machine":
			if ok {
				return user, password, true
			}
			here = strings.EqualFold(next, host)
			i++
		case "default":
			if ok {
				return user, password, true
			}
			here = true
		case "login", "user", "account", "password":
			if here && words[i] == "password" {
				password, ok = next, true
			} else if here && words[i] != "account" {
				user, ok = next, true
			}
			i++
		}
	}
	return user, password, ok
}
