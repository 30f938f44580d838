// Package former finds the roots beside the running one that entries are made from and held against: the root that an entry
// was added in, the roots that this boot replaced, and what the fresh ones are copies of.
package former
