package daemon

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/impermanence/impermanence/dbus"
)

// Log is where the daemon's log goes and how much of it. It implements [dbus.LogControl].
type Log struct {
	level  zap.AtomicLevel
	target string
}

// The targets of the log, as org.freedesktop.LogControl1 names them.
const (
	targetJournal = "journal"
	targetConsole = "console"
)

// identifier names the daemon in the journal.
const identifier = "impermanenced"

// NewLog returns a logger that writes to the journal when standard error is connected to it, with its fields, else lines
// to stderr. level is one of syslog's. Errors: dbus.ErrInvalidArgs.
func NewLog(stderr io.Writer, level string) (*zap.Logger, *Log, error) {
	l := &Log{level: zap.NewAtomicLevel(), target: targetConsole}
	if err := l.SetLogLevel(level); err != nil {
		return nil, nil, err
	}
	var core zapcore.Core
	if connected, err := journal.StderrIsJournalStream(); err == nil && connected && journal.Enabled() {
		l.target = targetJournal
		core = &journalCore{LevelEnabler: l.level}
	} else {
		config := zap.NewDevelopmentEncoderConfig()
		core = zapcore.NewCore(zapcore.NewConsoleEncoder(config), zapcore.Lock(zapcore.AddSync(stderr)), l.level)
	}
	return zap.New(core), l, nil
}

// levels maps the levels of syslog, most urgent first, to those of zap. Of several names for one the first is given back.
var levels = []struct {
	name     string
	level    zapcore.Level
	priority journal.Priority
}{
	{"err", zapcore.ErrorLevel, journal.PriErr},
	{"emerg", zapcore.FatalLevel, journal.PriEmerg},
	{"alert", zapcore.PanicLevel, journal.PriAlert},
	{"crit", zapcore.DPanicLevel, journal.PriCrit},
	{"warning", zapcore.WarnLevel, journal.PriWarning},
	{"info", zapcore.InfoLevel, journal.PriInfo},
	{"notice", zapcore.InfoLevel, journal.PriNotice},
	{"debug", zapcore.DebugLevel, journal.PriDebug},
}

// LogLevel is how much is logged.
func (l *Log) LogLevel() string {
	for _, row := range levels {
		if row.level == l.level.Level() {
			return row.name
		}
	}
	return l.level.String()
}

// SetLogLevel changes how much is logged.
func (l *Log) SetLogLevel(level string) error {
	for _, row := range levels {
		if row.name == level {
			l.level.SetLevel(row.level)
			return nil
		}
	}
	return fmt.Errorf("log level %q: %w: give emerg, alert, crit, err, warning, notice, info or debug", level, dbus.ErrInvalidArgs)
}

// LogTarget is where the log goes.
func (l *Log) LogTarget() string { return l.target }

// SetLogTarget accepts the target that is in use, and "auto".
func (l *Log) SetLogTarget(target string) error {
	if target != l.target && target != "auto" {
		return fmt.Errorf("log target %q: %w: it is %q, as standard error was connected at the start", target, dbus.ErrInvalidArgs, l.target)
	}
	return nil
}

// SyslogIdentifier names the daemon in the log.
func (l *Log) SyslogIdentifier() string { return identifier }

// journalCore writes entries to the journal's own protocol, fields as fields.
type journalCore struct {
	zapcore.LevelEnabler
	fields []zapcore.Field
}

// With adds fields to every entry.
func (c *journalCore) With(fields []zapcore.Field) zapcore.Core {
	return &journalCore{c.LevelEnabler, slices.Concat(c.fields, fields)}
}

// Check adds the core to an entry that is to be written.
func (c *journalCore) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

// Write sends an entry.
func (c *journalCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	encoder := zapcore.NewMapObjectEncoder()
	for _, f := range slices.Concat(c.fields, fields) {
		f.AddTo(encoder)
	}
	vars := map[string]string{"SYSLOG_IDENTIFIER": identifier}
	message := e.Message
	for name, value := range encoder.Fields {
		text := fmt.Sprint(value)
		vars[journalField(name)] = text
		if name == "error" { // who reads the message alone should see what went wrong
			message += ": " + text
		}
	}
	return journal.Send(message, priorityOf(e.Level), vars)
}

// Sync has nothing to do: what was sent is sent.
func (c *journalCore) Sync() error { return nil }

func priorityOf(level zapcore.Level) journal.Priority {
	for _, row := range levels {
		if row.level == level {
			return row.priority
		}
	}
	return journal.PriInfo
}

// journalField is a field's name as the journal allows it: upper case, digits and "_", with a prefix so that it is none
// of the journal's own.
func journalField(name string) string {
	return "IMPERMANENCE_" + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		default:
			return '_'
		}
	}, name)
}
