package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/daemon/config"
)

// BenchmarkParse reads a configuration with a thousand entries, as early boot does.
func BenchmarkParse(b *testing.B) {
	var text strings.Builder
	text.WriteString("[persistence.\"/persist\"]\nhideMounts = true\ndirectories = [\n")
	for n := range 1000 {
		fmt.Fprintf(&text, "  \"/srv/%02d/%04d\",\n", n/50, n)
	}
	text.WriteString("]\n")
	for b.Loop() {
		if _, err := config.ParseBytes("bench.toml", []byte(text.String())); err != nil {
			b.Fatal(err)
		}
	}
}
