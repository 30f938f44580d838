package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxDepth bounds the nesting of JSON, as the TOML parser bounds that of TOML.
const maxDepth = 100

// jsonReader builds a tree of values from JSON tokens, with the place of each.
type jsonReader struct {
	decoder *json.Decoder
	data    []byte
	lines   lineIndex
	depth   int
}

// readJSON parses a JSON document, which must be an object. Its error is Errors.
func readJSON(name string, data []byte) (*value, error) {
	r := &jsonReader{decoder: json.NewDecoder(bytes.NewReader(data)), data: data, lines: newLineIndex(name, data)}
	r.decoder.UseNumber()
	v, err := r.value()
	if err != nil {
		return nil, Errors{r.problem(err)}
	}
	if _, err := r.decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, Errors{r.problem(errors.New("something follows the object"))}
	}
	if v.kind != tableKind {
		return nil, Errors{r.problem(errors.New("the configuration is an object"))}
	}
	return v, nil
}

func (r *jsonReader) problem(err error) *Error {
	var located *Error
	if errors.As(err, &located) {
		return located
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the file ends too early")
	}
	at := r.here()
	return &Error{File: at.file, Line: at.line, Column: at.column, Message: "not JSON: " + err.Error()}
}

// here is the place of the next token.
func (r *jsonReader) here() position {
	offset := int(r.decoder.InputOffset())
	for offset < len(r.data) && bytes.IndexByte([]byte(" \t\r\n,:"), r.data[offset]) >= 0 {
		offset++
	}
	return r.lines.position(offset)
}

func (r *jsonReader) value() (*value, error) {
	at := r.here()
	token, err := r.decoder.Token()
	if err != nil {
		return nil, err
	}
	v := &value{kind: otherKind, at: at}
	switch t := token.(type) {
	case json.Delim:
		return r.container(t, at)
	case string:
		v.kind, v.text = stringKind, t
	case bool:
		v.kind, v.truth = booleanKind, t
	case json.Number:
		v.text = t.String()
		if _, err := t.Int64(); err == nil {
			v.kind = integerKind
		}
	}
	return v, nil
}

func (r *jsonReader) container(open json.Delim, at position) (*value, error) {
	if r.depth++; r.depth > maxDepth {
		return nil, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	defer func() { r.depth-- }()
	if open == '[' {
		return r.array(at)
	}
	return r.object(at)
}

func (r *jsonReader) array(at position) (*value, error) {
	v := &value{kind: arrayKind, at: at}
	for r.decoder.More() {
		item, err := r.value()
		if err != nil {
			return nil, err
		}
		v.items = append(v.items, item)
	}
	_, err := r.decoder.Token()
	return v, err
}

// object reads an object. A key that is null is left out: that is how Nix writes an option that is not set.
func (r *jsonReader) object(at position) (*value, error) {
	v := newTable(at)
	for r.decoder.More() {
		keyAt := r.here()
		token, err := r.decoder.Token()
		if err != nil {
			return nil, err
		}
		key, _ := token.(string)
		if v.get(key) != nil {
			return nil, &Error{File: keyAt.file, Line: keyAt.line, Column: keyAt.column, Key: key, Message: "is defined twice", Hint: "keep one"}
		}
		item, err := r.value()
		if err != nil {
			return nil, err
		}
		if item.kind == otherKind && item.text == "" {
			continue
		}
		v.set(key, keyAt, item)
	}
	_, err := r.decoder.Token()
	return v, err
}
