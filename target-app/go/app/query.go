package app

import (
	"fmt"
	"strconv"
	"strings"
)

// The most objects, and the most units of work, one request may ask for.
const limit = 10_000

// How many characters of a refused value are quoted.
const quoted = 40

// overrides are counts for one request instead of the configured ones.
type overrides struct{ objects, work *uint32 }

// parseOverrides reads a query as a form. net/url's parser refuses broken encoding in parameters
// that nobody asked for, which the contract has ignored.
func parseOverrides(query string) (o overrides, err error) {
	for _, pair := range strings.Split(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, value = unescape(name), unescape(value)
		switch name {
		case "objects":
			err = set(&o.objects, name, value)
		case "work":
			err = set(&o.work, name, value)
		}
		if err != nil {
			return overrides{}, err
		}
	}
	return o, nil
}

func set(slot **uint32, name, value string) error {
	count, ok := parseCount(value)
	if !ok {
		return fmt.Errorf("%s=\"%s\" is not accepted: expected a whole number from 0 to %d", name, quote(value), limit)
	}
	if *slot != nil && **slot != count {
		return fmt.Errorf("%s=\"%s\" contradicts %s=\"%d\" before it: expected one whole number from 0 to %d", name, quote(value), name, **slot, limit)
	}
	*slot = &count
	return nil
}

// parseCount takes digits only: strconv alone would take a sign or an underscore as well.
func parseCount(text string) (uint32, bool) {
	for _, char := range []byte(text) {
		if char < '0' || char > '9' {
			return 0, false
		}
	}
	count, err := strconv.ParseUint(text, 10, 64)
	return uint32(count), err == nil && count <= limit
}

// unescape decodes what a form encodes, and leaves what is broken as it is.
func unescape(text string) string {
	if !strings.ContainsAny(text, "%+") {
		return text
	}
	decoded := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		char := text[i]
		if char == '+' {
			char = ' '
		} else if char == '%' && i+2 < len(text) {
			if code, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
				char = byte(code)
				i += 2
			}
		}
		decoded = append(decoded, char)
	}
	return string(decoded)
}

// quote gives a value as printable ASCII of bounded length.
func quote(value string) string {
	escaped := strconv.QuoteToASCII(value)
	escaped = escaped[1 : len(escaped)-1]
	if len(escaped) > quoted {
		escaped = escaped[:quoted] + "..."
	}
	return escaped
}
