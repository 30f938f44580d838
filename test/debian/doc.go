// Package debian gives tests a Debian of given packages, made once by mmdebstrap and kept in the user's cache.
package debian
