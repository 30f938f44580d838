package main

import (
	"context"

	"github.com/impermanence/impermanence/daemon/change"
	"github.com/impermanence/impermanence/daemon/config"
)

// changeEntries carries out what the daemon asks for in the runtime directory, answers there, and returns the exit code.
func changeEntries(ctx context.Context, o options, log *logger) int {
	request, err := change.ReadRequest(o.runDir)
	if err != nil {
		log.error("%v", err)
		return exitFailed
	}
	reply := change.Carry(ctx, change.Options{Config: config.LoadOptions{Path: o.config}, Sysroot: o.sysroot}, request)
	if err := change.WriteReply(o.runDir, reply); err != nil {
		log.error("%v; the daemon will not know what was done", err)
		return exitFailed
	}
	if err := reply.Err(); err != nil {
		log.info("%s %s: %v", request.Deed, request.Target, err) // the daemon tells who asked
		return exitDone
	}
	log.info("%s %s: %s", request.Deed, request.Target, reply.Done)
	return exitDone
}
