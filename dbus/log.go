package dbus

// Log takes what a [Server] tells of: a message, then names and values in turn. zap's SugaredLogger is one.
type Log interface {
	Debugw(message string, pairs ...any)
	Infow(message string, pairs ...any)
	Warnw(message string, pairs ...any)
	Errorw(message string, pairs ...any)
}

// silence is the Log of who wants none.
type silence struct{}

func (silence) Debugw(string, ...any) {}
func (silence) Infow(string, ...any)  {}
func (silence) Warnw(string, ...any)  {}
func (silence) Errorw(string, ...any) {}
