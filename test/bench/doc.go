// Command bench measures ours, what people use today, and the limit, on the same file systems, in alternation.
//
// Each row is one piece of work. In each round every contender does it once, on a fresh copy of one pristine image, in an order
// that rotates; the machine's mood hits all alike, so only ratios within a row mean something. What is printed are medians, with
// the least and the greatest.
//
// The shell scripts in scripts/ are written anew for this bench: they do what the scripts and modules in use do.
package main
