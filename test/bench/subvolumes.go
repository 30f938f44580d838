package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// subvolume makes an empty subvolume.
func subvolume(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return onName(dir, iocSubvolCreate, filepath.Base(path))
}

// snapshot makes a writable snapshot.
func snapshot(source, path string) error {
	from, err := os.Open(source)
	if err != nil {
		return err
	}
	defer from.Close()
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return onNameFrom(dir, iocSnapCreate, filepath.Base(path), from)
}

// layout makes a root, and old_roots beside it.
func layout(top string) error {
	if err := os.Mkdir(filepath.Join(top, "old_roots"), 0o755); err != nil {
		return err
	}
	return subvolume(filepath.Join(top, "root"))
}

// oldName is how a script names the n-th of the old roots; every reader of it knows the time from it.
func oldName(age time.Duration, n int) string {
	return time.Now().UTC().Add(-age - time.Duration(n)*time.Minute).Format("2006-01-02_15:04:05")
}

// oldRoots makes count old roots of an age, each with nested subvolumes inside, and returns their names.
func oldRoots(top string, age time.Duration, count, nested int) ([]string, error) {
	var names []string
	for n := range count {
		name := oldName(age, n)
		path := filepath.Join(top, "old_roots", name)
		if err := subvolume(path); err != nil {
			return nil, err
		}
		for i := range nested {
			if err := subvolume(filepath.Join(path, fmt.Sprintf("nested%d", i))); err != nil {
				return nil, err
			}
		}
		then := time.Now().Add(-age - time.Duration(n)*time.Minute)
		if err := os.Chtimes(path, then, then); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// manyFiles makes count small files below dir.
func manyFiles(dir string, count int) error {
	const perDirectory = 1000
	for n := range count {
		sub := filepath.Join(dir, fmt.Sprint(n/perDirectory))
		if n%perDirectory == 0 {
			if err := os.Mkdir(sub, 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprint(n%perDirectory)), []byte("x"), 0o644); err != nil {
			return err
		}
	}
	return nil
}
