package app

import "strings"

// wantsGzip says whether gzip is at least as welcome as no coding at all (RFC 9110, section 12.5.3).
// Many lines are one list. An element that breaks the grammar counts as not being there: the plain
// answer is always right.
func wantsGzip(lines []string) bool {
	const unnamed = -1
	gzip, identity, any := unnamed, unnamed, unnamed
	for _, line := range lines {
		for _, element := range strings.Split(line, ",") {
			coding, weight, ok := elementOfList(element)
			if !ok {
				continue
			}
			var slot *int
			switch strings.ToLower(coding) {
			case "gzip", "x-gzip":
				slot = &gzip
			case "identity":
				slot = &identity
			case "*":
				slot = &any
			default:
				continue
			}
			// Of two weights for the same coding the smaller holds, so a refusal always counts.
			if *slot == unnamed || weight < *slot {
				*slot = weight
			}
		}
	}
	if gzip == unnamed {
		gzip = any
	}
	// An answer without coding is always acceptable, but unless it is named, never preferred.
	return gzip > 0 && gzip >= identity
}

// elementOfList takes "gzip;q=0.5" apart. The weight is in thousandths.
func elementOfList(element string) (coding string, weight int, ok bool) {
	coding, parameter, weighted := strings.Cut(element, ";")
	coding = strings.Trim(coding, " \t")
	if !weighted {
		return coding, 1000, true
	}
	weight, ok = parseWeight(strings.Trim(parameter, " \t"))
	return coding, weight, ok
}

// parseWeight takes at most three digits after the point, and never more than 1.
func parseWeight(parameter string) (int, bool) {
	if len(parameter) < 3 || parameter[0] != 'q' && parameter[0] != 'Q' || parameter[1] != '=' {
		return 0, false
	}
	whole, fraction := parameter[2], parameter[3:]
	if whole != '0' && whole != '1' {
		return 0, false
	}
	if fraction != "" && (fraction[0] != '.' || len(fraction) > 4) {
		return 0, false
	}
	weight := int(whole - '0')
	for place := 1; place <= 3; place++ {
		digit := byte('0')
		if place < len(fraction) {
			digit = fraction[place]
		}
		if digit < '0' || digit > '9' {
			return 0, false
		}
		weight = weight*10 + int(digit-'0')
	}
	return weight, weight <= 1000
}
