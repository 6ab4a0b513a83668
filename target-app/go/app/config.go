package app

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// Version is that of the application, in step with the other twins'.
const Version = "0.1.0"

// Config is what flags and environment say.
type Config struct {
	Listen  *net.TCPAddr
	Objects uint32
	Work    uint32
	Seed    uint64
}

// ParseConfig reads flags and environment, and ends the program where they make no sense or ask for
// its version. name is that of the program; modules are those whose versions belong to its own.
func ParseConfig(name string, modules ...string) Config {
	config := Config{Objects: 20, Work: 1, Seed: 1}
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	version := flags.Bool("version", false, "print the version and end")
	listen := func(text string) (err error) {
		if _, _, err = net.SplitHostPort(text); err == nil {
			config.Listen, err = net.ResolveTCPAddr("tcp", text)
		}
		if err != nil {
			return fmt.Errorf("%w; expected something like 127.0.0.1:8080", err)
		}
		return nil
	}
	settings := []struct {
		name, variable, help string
		set                  func(string) error
	}{
		{"objects", "OBJECTS", "objects in an answer, 0 to 10000 (default 20)", count(&config.Objects)},
		{"work", "WORK", "units of work per request, 0 to 10000 (default 1)", count(&config.Work)},
		{"seed", "SEED", "what everything random is drawn from (default 1)", func(text string) (err error) {
			config.Seed, err = strconv.ParseUint(text, 10, 64)
			return err
		}},
	}
	flags.Func("listen", "address and port to listen on; port 0 lets the kernel choose (default 127.0.0.1:8080)", listen)
	for _, setting := range settings {
		// Before the flags, which come first and so have the last word.
		if text, ok := os.LookupEnv(setting.variable); ok {
			if err := setting.set(text); err != nil {
				refuse(name, fmt.Errorf("invalid value %q for environment variable %s: %w", text, setting.variable, err))
			}
		}
		flags.Func(setting.name, setting.help+", or "+setting.variable, setting.set)
	}
	_ = flags.Parse(os.Args[1:]) // Ends the program by itself.
	if flags.NArg() > 0 {
		refuse(name, fmt.Errorf("unexpected argument %q", flags.Arg(0)))
	}
	if *version {
		fmt.Println(versionOf(name, modules))
		os.Exit(0)
	}
	if config.Listen == nil {
		_ = listen("127.0.0.1:8080")
	}
	return config
}

func count(slot *uint32) func(string) error {
	return func(text string) error {
		count, ok := parseCount(text)
		if !ok {
			return errors.New("expected a whole number from 0 to 10000")
		}
		*slot = count
		return nil
	}
}

func refuse(name string, err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	os.Exit(2)
}

// versionOf is one line: the program's version, the toolchain, and what it was built with.
func versionOf(name string, modules []string) string {
	parts := []string{runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range modules {
			for _, dependency := range info.Deps {
				if dependency.Path == module {
					parts = append(parts, module+" "+dependency.Version)
				}
			}
		}
	}
	return fmt.Sprintf("%s %s (%s)", name, Version, strings.Join(parts, ", "))
}
