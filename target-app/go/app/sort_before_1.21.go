//go:build !go1.21

package app

import "sort"

// The sort that programs used before Go 1.21.
func sortNumbers(numbers []uint64) {
	sort.Slice(numbers, func(i, j int) bool { return numbers[i] < numbers[j] })
}
