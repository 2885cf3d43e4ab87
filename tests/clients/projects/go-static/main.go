package main

import (
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/google/uuid"
)

var version = "unset"

func main() {
	name := uuid.NewSHA1(uuid.NameSpaceDNS, []byte("darse"))
	http.HandleFunc("/", func(writer http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(writer, "static %s %s, user %d\n", version, name, os.Getuid())
	})
	log.Fatal(http.ListenAndServe(":8080", nil))
}
