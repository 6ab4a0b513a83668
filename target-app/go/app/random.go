package app

// What the state advances by with every number drawn: 2^64 divided by the golden ratio, made odd.
const gamma = 0x9e3779b97f4a7c15

// random is SplitMix64, the generator that all twins draw from.
type random struct{ state uint64 }

// ofRequest gives the generators of request n, counted from 1: one for its objects, one for its work.
func ofRequest(seed, n uint64) (objects, work random) {
	// The state is a plain sum, so the n-th number needs no walk through those before it.
	start := random{seed + gamma*(n-1)}
	first := start.next()
	return random{first}, random{^first}
}

func (r *random) next() uint64 {
	r.state += gamma
	z := r.state
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

func (r *random) below(bound uint64) uint64 { return r.next() % bound }

func (r *random) pick(words []string) string { return words[r.below(uint64(len(words)))] }
