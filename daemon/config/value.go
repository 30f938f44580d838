package config

// kind is what a value is, in TOML's words.
type kind uint8

const (
	tableKind kind = iota
	arrayKind
	stringKind
	integerKind
	booleanKind
	otherKind // floats, dates, null: the schema has none of them
)

var kindNames = [...]string{
	tableKind: "a table", arrayKind: "an array", stringKind: "a string", integerKind: "an integer",
	booleanKind: "true or false", otherKind: "a value of another type",
}

func (k kind) String() string { return kindNames[k] }

// position is a place in a file; line and column count from 1.
type position struct {
	file         string
	line, column int
}

// value is one node of a configuration, whether it was written in TOML or in JSON.
type value struct {
	kind   kind
	at     position
	text   string // string: its content; integer: as it was written
	truth  bool
	items  []*value // array
	fields []*field // table, in the order of the file
	index  map[string]*field
	origin tableOrigin // while TOML is read
}

// field is a key of a table with its value.
type field struct {
	key   string
	at    position
	value *value
}

func newTable(at position) *value {
	return &value{kind: tableKind, at: at, index: map[string]*field{}}
}

// get gives the field with this key, nil when there is none.
func (v *value) get(key string) *field {
	return v.index[key]
}

// set adds a field, or gives an existing one a new value.
func (v *value) set(key string, at position, to *value) *field {
	if f := v.index[key]; f != nil {
		f.at, f.value = at, to
		return f
	}
	f := &field{key: key, at: at, value: to}
	v.fields = append(v.fields, f)
	v.index[key] = f
	return f
}

// merge lays over on base: tables are merged key by key, arrays are joined, and what else is in over replaces what is in base.
func merge(base, over *value) {
	for _, f := range over.fields {
		have := base.get(f.key)
		switch {
		case have != nil && have.value.kind == tableKind && f.value.kind == tableKind:
			merge(have.value, f.value)
		case have != nil && have.value.kind == arrayKind && f.value.kind == arrayKind:
			have.value.items = append(have.value.items, f.value.items...)
		default:
			base.set(f.key, f.at, f.value)
		}
	}
}
