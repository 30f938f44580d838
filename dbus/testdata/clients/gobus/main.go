// Command gobus is what a Go programmer writes who has only godbus, the bus name and the documentation. It prints one line
// for each thing that happened. With "refused" it only tries to prune, with "interactive" it lets polkit ask for that.
package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/godbus/dbus/v5"
)

const (
	name        = "org.impermanence1"
	managerPath = dbus.ObjectPath("/org/impermanence1")
)

// root is what ListRoots returns of each.
type root struct {
	Path       dbus.ObjectPath
	Name       string
	RolledOver uint64
	Flags      uint64
}

type options = map[string]dbus.Variant

func main() {
	conn, err := dbus.ConnectSystemBus()
	if err == nil {
		err = run(conn, os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(conn *dbus.Conn, args []string) error {
	manager := conn.Object(name, managerPath)
	switch {
	case slices.Contains(args, "refused"):
		var refused dbus.Error
		if err := manager.Call(name+".Manager.Prune", 0, options{}, uint64(0)).Err; !errors.As(err, &refused) {
			return fmt.Errorf("not refused: %w", err)
		}
		fmt.Println(refused.Name)
		return nil
	case slices.Contains(args, "interactive"):
		return ask(conn)
	}
	var roots []root
	if err := manager.Call(name+".Manager.ListRoots", 0, options{"kind": dbus.MakeVariant("old")}, uint64(0)).Store(&roots); err != nil {
		return err
	}
	for _, r := range roots {
		fmt.Println("root", r.Path, r.Name, r.RolledOver > 0, r.Flags)
	}
	if err := cancel(conn, manager); err != nil {
		return err
	}
	return prune(conn, manager)
}

// ask prunes, and lets polkit ask somebody for a password. Object.Call drops that flag (godbus v5.2.4).
func ask(conn *dbus.Conn) error {
	args := []any{options{}, uint64(0)}
	call := &dbus.Message{
		Type: dbus.TypeMethodCall, Flags: dbus.FlagAllowInteractiveAuthorization, Body: args,
		Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldDestination: dbus.MakeVariant(name), dbus.FieldPath: dbus.MakeVariant(managerPath),
			dbus.FieldInterface: dbus.MakeVariant(name + ".Manager"), dbus.FieldMember: dbus.MakeVariant("Prune"),
			dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(args...)),
		},
	}
	var job dbus.ObjectPath
	err := (<-conn.Send(call, make(chan *dbus.Call, 1)).Done).Store(&job)
	fmt.Println("pruning", job)
	return err
}

// cancel takes a snapshot and cancels that.
func cancel(conn *dbus.Conn, manager dbus.BusObject) error {
	var job dbus.ObjectPath
	if err := manager.Call(name+".Manager.CreateSnapshot", 0, "from Go", options{}, uint64(0)).Store(&job); err != nil {
		return err
	}
	if err := conn.Object(name, job).Call(name+".Job.Cancel", 0, options{}, uint64(0)).Err; err != nil {
		return err
	}
	var result, errorName, message string
	err := conn.Object(name, job).Call(name+".Job.Wait", 0, uint64(0)).Store(&result, &errorName, &message)
	fmt.Println("snapshot", job, result, errorName)
	return err
}

// prune follows the progress of the job by signals, to its end.
func prune(conn *dbus.Conn, manager dbus.BusObject) error {
	signals := make(chan *dbus.Signal, 100)
	conn.Signal(signals)
	for _, member := range []string{"PropertiesChanged", "JobRemoved"} {
		if err := conn.AddMatchSignal(dbus.WithMatchSender(name), dbus.WithMatchMember(member)); err != nil {
			return err
		}
	}
	var job dbus.ObjectPath
	if err := manager.Call(name+".Manager.Prune", 0, options{"keepLast": dbus.MakeVariant(uint32(1))}, uint64(0)).Store(&job); err != nil {
		return err
	}
	var progress []float64
	for s := range signals {
		switch {
		case s.Name == name+".Manager.JobRemoved" && s.Body[0] == job:
			fmt.Println("pruned", s.Body[1], s.Body[2], slices.IsSorted(progress) && len(progress) > 1)
			return nil
		case s.Path == job:
			if value, ok := s.Body[1].(map[string]dbus.Variant)["Progress"]; ok {
				progress = append(progress, value.Value().(float64))
			}
		}
	}
	return errors.New("the bus closed the connection")
}
