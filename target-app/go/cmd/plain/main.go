// The application under load without any instrumentation.
package main

import (
	"net/http"
	"os"

	"flora-bench.invalid/target-app/app"
)

func main() {
	target := app.New(app.ParseConfig("target-app-go"))
	mux := http.NewServeMux()
	target.Register(mux)
	os.Exit(target.Serve(mux))
}
