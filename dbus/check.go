package dbus

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// maxArrayDepth is how deep arrays may be in one another in what a stranger
	// sends. godbus makes a type of Go for each type of array and dictionary that it
	// decodes, and Go never forgets a type: a message of 1 MiB that is full of
	// variants with types of their own cost 257 MB for good.
	maxArrayDepth = 2
	// maxDepth is how deep values may be in one another, as in godbus.
	maxDepth = 64
)

// checkBody refuses a body that isn't what its signature says, or that must not be
// decoded. A bus need not have looked: dbus-broker leaves that to who receives.
func checkBody(order binary.ByteOrder, signature string, content []byte) error {
	c := checker{wireReader{b: content, order: order}}
	if err := c.sequence(signature, 0); err != nil {
		return err
	}
	if c.pos != len(c.b) {
		return fmt.Errorf("%d bytes are left: %w", len(c.b)-c.pos, errMalformed)
	}
	return nil
}

// checker walks over values without keeping any.
type checker struct{ wireReader }

// sequence checks a value of each of the types in a signature.
func (c *checker) sequence(signature string, depth int) error {
	for signature != "" {
		one, rest, err := firstType(signature, maxArrayDepth)
		if err != nil {
			return err
		}
		if err := c.value(one, depth); err != nil {
			return err
		}
		signature = rest
	}
	return nil
}

// value checks a value of one complete type.
func (c *checker) value(kind string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("values are too deep in one another: %w", errMalformed)
	}
	switch kind[0] {
	case 'a':
		return c.array(kind[1:], depth)
	case '(', '{':
		c.align(8)
		return c.sequence(kind[1:len(kind)-1], depth+1)
	case 'v':
		kind := c.text(uint32(c.byte()))
		if one, rest, err := firstType(kind, maxArrayDepth); err != nil || rest != "" || one[0] == '{' {
			return fmt.Errorf("variant of type %q: %w", kind, errMalformed)
		}
		return c.value(kind, depth+1)
	case 's', 'o':
		if s := c.text(c.uint32()); !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
			return fmt.Errorf("string %q: %w", s, errMalformed)
		}
	case 'g':
		for rest, err := c.text(uint32(c.byte())), error(nil); rest != ""; {
			if _, rest, err = firstType(rest, maxDepth); err != nil {
				return err
			}
		}
	case 'b':
		if c.uint32() > 1 {
			return fmt.Errorf("boolean: %w", errMalformed)
		}
	default:
		size := alignmentOf(kind[0])
		c.align(size)
		c.take(size)
	}
	return c.err
}

func (c *checker) array(element string, depth int) error {
	size := c.uint32()
	c.align(alignmentOf(element[0]))
	if c.err != nil || uint64(size) > uint64(len(c.b)-c.pos) {
		return fmt.Errorf("array of %d bytes: %w", size, errMalformed)
	}
	end := c.pos + int(size)
	if element == "y" {
		c.pos = end
	}
	for c.pos < end {
		if err := c.value(element, depth+1); err != nil {
			return err
		}
	}
	if c.pos > end {
		return fmt.Errorf("array of %d bytes: %w: its last element is longer", size, errMalformed)
	}
	return c.err
}

// alignmentOf is the alignment of a type, which for numbers is also their size.
func alignmentOf(kind byte) int {
	switch kind {
	case 'y', 'g', 'v':
		return 1
	case 'n', 'q':
		return 2
	case 'x', 't', 'd', '(', '{':
		return 8
	default: // b i u h, and the lengths of s o a
		return 4
	}
}

// firstType splits the first complete type off a signature. Arrays may be as deep in
// one another as arrays says.
func firstType(signature string, arrays int) (one, rest string, err error) {
	bad := fmt.Errorf("signature %q: %w", signature, errMalformed)
	if signature == "" || len(signature) > 255 {
		return "", "", bad
	}
	switch signature[0] {
	case 'y', 'b', 'n', 'q', 'i', 'u', 'x', 't', 'd', 's', 'o', 'g', 'v', 'h':
		return signature[:1], signature[1:], nil
	case 'a':
		if arrays == 0 || len(signature) < 2 {
			return "", "", bad
		}
		if signature[1] == '{' {
			return dictionaryType(signature, arrays-1)
		}
		element, rest, err := firstType(signature[1:], arrays-1)
		return signature[:1+len(element)], rest, err
	case '(':
		return structType(signature, arrays)
	default:
		return "", "", bad
	}
}

// dictionaryType splits "a{kv}" off a signature.
func dictionaryType(signature string, arrays int) (one, rest string, err error) {
	bad := fmt.Errorf("signature %q: %w", signature, errMalformed)
	if len(signature) < 5 || !strings.ContainsRune("ybnqiuxtdsog", rune(signature[2])) {
		return "", "", bad
	}
	value, rest, err := firstType(signature[3:], arrays)
	if err != nil || rest == "" || rest[0] != '}' {
		return "", "", bad
	}
	size := 3 + len(value) + 1
	return signature[:size], signature[size:], nil
}

// structType splits "(...)" off a signature.
func structType(signature string, arrays int) (one, rest string, err error) {
	bad := fmt.Errorf("signature %q: %w", signature, errMalformed)
	depth, rest := 0, signature[1:]
	for rest != "" && rest[0] != ')' {
		if _, rest, err = firstType(rest, arrays); err != nil {
			return "", "", err
		}
		depth++
	}
	if rest == "" || depth == 0 {
		return "", "", bad
	}
	return signature[:len(signature)-len(rest)+1], rest[1:], nil
}
