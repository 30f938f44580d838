// Command minimum is the least that the daemon's libraries can do for a service: it logs with zap, owns a name on the bus and
// has an object with a property there with godbus, and says READY=1 with go-systemd. The daemon's benchmarks compare with it.
package main

import (
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	godbus "github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"
	"go.uber.org/zap"
)

func main() {
	debug.SetGCPercent(50)
	log, err := zap.NewProduction()
	if err != nil {
		panic(err)
	}
	conn, err := godbus.ConnectSystemBus()
	if err != nil {
		log.Fatal("connect", zap.Error(err))
	}
	version := prop.Map{"org.impermanence1.Manager": {"Version": {Value: "1", Emit: prop.EmitConst}}}
	if _, err := prop.Export(conn, "/org/impermanence1", version); err != nil {
		log.Fatal("export the object", zap.Error(err))
	}
	if _, err := conn.RequestName("org.impermanence1", godbus.NameFlagDoNotQueue); err != nil {
		log.Fatal("own the name", zap.Error(err))
	}
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.Fatal("notify", zap.Error(err))
	}
	log.Info("ready")
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end
}
