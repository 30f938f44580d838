// Package jobs runs work that takes longer than a blink: each [Request] becomes a [Job] at once, with progress, cancel and
// a result that stays readable for a while.
//
// A job belongs to the daemon, not to the client that started it: it goes on when the client is gone. One job at a time
// writes to a resource (a file system); a second one is refused with a [BusyError] that names the first, it does not
// queue. Readers of the list never wait for a job.
//
// Out of scope: what jobs do, who may start and cancel them, and how they are shown.
package jobs
