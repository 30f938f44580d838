// Package config reads the configuration of impermanence: what is ephemeral, what is kept, and for how long.
//
// It is strict. Every problem is reported, not only the first, each with file, line, key and what to write instead, and a
// configuration with a problem is no configuration. Reading never changes anything on disk.
//
// TOML and JSON with the same data are read alike. The early-boot program uses this package too, so it is kept small.
package config
