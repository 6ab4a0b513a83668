package app

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// Numbers in the block of one unit of work.
const block = 2048

// doWork does units of work and returns the last one's digest, or nothing if there was nothing to do.
func doWork(units uint32, random *random) string {
	var before []byte
	for ; units > 0; units-- {
		before = unit(before, random)
	}
	return hex.EncodeToString(before)
}

func unit(before []byte, random *random) []byte {
	numbers := make([]uint64, block)
	for i := range numbers {
		numbers[i] = random.next()
	}
	sortNumbers(numbers)
	bytes := make([]byte, 8*block)
	for i, number := range numbers {
		binary.LittleEndian.PutUint64(bytes[8*i:], number)
	}
	hash := sha256.New()
	hash.Write(before)
	hash.Write(bytes)
	return hash.Sum(nil)
}
