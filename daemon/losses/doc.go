// Package losses decides what of a difference between roots is a loss: something that will be gone after the next boot and
// that somebody could miss. What is kept (entries in their places, other mounts) is none, nor is what rules ignore.
//
// Rules are written as in gitignore(5), one file for the vendor, one for the machine, one for each user's home; a later
// file, and in a file a later line, has the last word. The matching is ours: go-git's and sabhiram's packages differ from
// git in what "**" and classes match, and work on text, while a path is bytes. A test holds it against git check-ignore.
package losses
