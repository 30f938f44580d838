package dbus

// Error is an error reply of the daemon. It is the sentinel that its name stands for
// in the sense of errors.Is.
type Error struct {
	Name    string // D-Bus error name
	Message string
}

// Error returns the daemon's text.
func (e *Error) Error() string { return e.Message }
