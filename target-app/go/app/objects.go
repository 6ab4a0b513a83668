package app

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
)

// A copy of ../../words.json, since a program can embed no file above its module.
//
//go:embed words.json
var wordsFile []byte

// The words objects are put together from.
var words = func() (words struct {
	FirstNames []string `json:"first_names"`
	LastNames  []string `json:"last_names"`
	Tags       []string `json:"tags"`
	Streets    []string `json:"streets"`
	Cities     []string `json:"cities"`
}) {
	if err := json.Unmarshal(wordsFile, &words); err != nil {
		panic(err)
	}
	return words
}()

// object is a customer, say. The order of the fields is the order in JSON and the order of drawing.
type object struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Email     string   `json:"email"`
	Age       uint64   `json:"age"`
	Balance   float64  `json:"balance"`
	Active    bool     `json:"active"`
	Tags      []string `json:"tags"`
	Address   address  `json:"address"`
	CreatedAt string   `json:"created_at"`
}

type address struct {
	Street string `json:"street"`
	City   string `json:"city"`
	Zip    string `json:"zip"`
}

// objectsJSON is a JSON array of so many objects.
func objectsJSON(count uint32, random *random) []byte {
	objects := make([]object, count)
	for i := range objects {
		objects[i] = drawObject(random)
	}
	body, err := json.Marshal(objects)
	if err != nil {
		panic(err) // An object always has a JSON form.
	}
	return body
}

// drawObject draws every number in the order written here. Each has a statement of its own: Go
// leaves open in which order the parts of one expression are evaluated.
func drawObject(random *random) (o object) {
	o.ID = fmt.Sprintf("%08x", random.next()>>32)
	first := random.pick(words.FirstNames)
	last := random.pick(words.LastNames)
	o.Name = first + " " + last
	o.Email = fmt.Sprintf("%s%d@example.com", strings.ToLower(last), random.below(100))
	o.Age = 18 + random.below(63)
	whole := random.below(10_000)
	cents := 1 + random.below(99)
	o.Balance = float64(whole*100+cents) / 100
	o.Active = random.below(2) == 1
	o.Tags = make([]string, 1+random.below(2))
	for i := range o.Tags {
		o.Tags[i] = random.pick(words.Tags)
	}
	number := 1 + random.below(999)
	o.Address.Street = fmt.Sprintf("%d %s", number, random.pick(words.Streets))
	o.Address.City = random.pick(words.Cities)
	o.Address.Zip = fmt.Sprintf("%05d", random.below(100_000))
	year := 2015 + random.below(10)
	month := 1 + random.below(12)
	day := 1 + random.below(28)
	hour := random.below(24)
	minute := random.below(60)
	second := random.below(60)
	o.CreatedAt = fmt.Sprintf("%d-%02d-%02dT%02d:%02d:%02dZ", year, month, day, hour, minute, second)
	return o
}
