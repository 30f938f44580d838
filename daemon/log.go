package daemon

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"go.uber.org/zap/zapcore"

	"github.com/impermanence/impermanence/dbus"
)

// Log is the daemon's log. It takes a message, then names and values in turn, and implements [dbus.Log] and [dbus.LogControl]. Of zap it is made with
// the core alone: the package above it has an HTTP server, to set its level, and with that the code of TLS: a megabyte of the daemon's memory.
type Log struct {
	level  atomic.Int32 // a zapcore.Level
	target string
	write  func(e zapcore.Entry, pairs []any) error
}

// The targets of the log, as org.freedesktop.LogControl1 names them.
const (
	targetJournal = "journal"
	targetConsole = "console"
)

// identifier names the daemon in the journal.
const identifier = "impermanenced"

// lines are the log on a console.
var lines = zapcore.EncoderConfig{
	TimeKey: "time", LevelKey: "level", MessageKey: "message",
	EncodeTime: zapcore.ISO8601TimeEncoder, EncodeLevel: zapcore.CapitalLevelEncoder, EncodeDuration: zapcore.StringDurationEncoder,
}

// NewLog returns a log that goes to the journal when standard error is connected to it, with its fields, else as lines
// to stderr. level is one of syslog's. Errors: dbus.ErrInvalidArgs.
func NewLog(stderr io.Writer, level string) (*Log, error) {
	l := &Log{target: targetConsole}
	if err := l.SetLogLevel(level); err != nil {
		return nil, err
	}
	if connected, err := journal.StderrIsJournalStream(); err == nil && connected && journal.Enabled() {
		l.target, l.write = targetJournal, writeJournal
	} else {
		core := zapcore.NewCore(zapcore.NewConsoleEncoder(lines), zapcore.Lock(zapcore.AddSync(stderr)), zapcore.DebugLevel)
		l.write = func(e zapcore.Entry, pairs []any) error { return core.Write(e, fieldsOf(pairs)) }
	}
	return l, nil
}

// Debugw logs what helps to find a mistake.
func (l *Log) Debugw(message string, pairs ...any) { l.log(zapcore.DebugLevel, message, pairs) }

// Infow logs what was done.
func (l *Log) Infow(message string, pairs ...any) { l.log(zapcore.InfoLevel, message, pairs) }

// Warnw logs what went wrong and can be gone on without.
func (l *Log) Warnw(message string, pairs ...any) { l.log(zapcore.WarnLevel, message, pairs) }

// Errorw logs what went wrong.
func (l *Log) Errorw(message string, pairs ...any) { l.log(zapcore.ErrorLevel, message, pairs) }

func (l *Log) log(level zapcore.Level, message string, pairs []any) {
	if level >= zapcore.Level(l.level.Load()) {
		_ = l.write(zapcore.Entry{Level: level, Time: time.Now(), Message: message}, pairs) // there is nowhere to tell it
	}
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
		if row.level == zapcore.Level(l.level.Load()) {
			return row.name
		}
	}
	return zapcore.Level(l.level.Load()).String()
}

// SetLogLevel changes how much is logged.
func (l *Log) SetLogLevel(level string) error {
	for _, row := range levels {
		if row.name == level {
			l.level.Store(int32(row.level))
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

// fieldsOf makes fields of what is named. An error that is nil is none.
func fieldsOf(pairs []any) []zapcore.Field {
	var fields []zapcore.Field
	for pair := range slices.Chunk(pairs, 2) {
		field := zapcore.Field{Key: pair[0].(string), Type: zapcore.ReflectType, Interface: pair[1]}
		switch value := pair[1].(type) {
		case nil:
			field.Type = zapcore.SkipType
		case error:
			field.Type = zapcore.ErrorType
		case fmt.Stringer:
			field.Type = zapcore.StringerType
		case string:
			field.Type, field.String = zapcore.StringType, value
		}
		fields = append(fields, field)
	}
	return fields
}

// writeJournal sends an entry in the journal's own protocol, what is named as fields. An error that is nil is none.
func writeJournal(e zapcore.Entry, pairs []any) error {
	vars := map[string]string{"SYSLOG_IDENTIFIER": identifier}
	message := e.Message
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] == nil {
			continue
		}
		name, text := pair[0].(string), fmt.Sprint(pair[1])
		vars[journalField(name)] = text
		if name == "error" { // who reads the message alone should see what went wrong
			message += ": " + text
		}
	}
	return journal.Send(message, priorityOf(e.Level), vars)
}

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
