package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// startRows measure what early boot pays for a program before that does anything.
func startRows(s *stage) ([]row, error) {
	empty, err := s.emptyProgram()
	if err != nil {
		return nil, err
	}
	stub := filepath.Join(s.bin, "impermanence-initrd")
	name := "start of impermanence-initrd"
	for _, program := range []string{stub, empty} {
		info, err := os.Stat(program)
		if err != nil {
			return nil, err
		}
		const megabyte = 1e6
		name += fmt.Sprintf(", %s %.2f MB", filepath.Base(program), float64(info.Size())/megabyte)
	}
	return []row{{name: name, fill: layout, contenders: []contender{
		{"impermanence-initrd version", started(stub, "version")},
		{"limit: an empty Go program", started(empty)},
	}}}, nil
}

func started(program string, args ...string) func(context.Context, *disk) (*exec.Cmd, error) {
	return func(ctx context.Context, _ *disk) (*exec.Cmd, error) {
		return exec.CommandContext(ctx, program, args...), nil
	}
}

// emptyProgram builds a program that does nothing, as ours are built.
func (s *stage) emptyProgram() (string, error) {
	dir := s.path("empty")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	source, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "empty")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		return "", err
	}
	return program, sh("env", "CGO_ENABLED=0", "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, source)
}
