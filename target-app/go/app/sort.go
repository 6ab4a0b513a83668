//go:build go1.21

package app

import "slices"

// The sort that programs use since Go 1.21.
func sortNumbers(numbers []uint64) { slices.Sort(numbers) }
