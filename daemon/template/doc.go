// Package template changes the template that fresh roots are made from: by running a command in a copy of it, or by taking the
// root that runs. The copy becomes the template in one exchange, or it is dropped.
package template
