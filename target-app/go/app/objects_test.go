package app

import (
	"bytes"
	"os"
	"testing"
)

func TestWordsAreThoseOfAllTwins(t *testing.T) {
	words, err := os.ReadFile("../../words.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(words, wordsFile) {
		t.Fatal("target-app/go/app/words.json is not target-app/words.json; copy it")
	}
}
