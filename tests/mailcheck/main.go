// Reads one message from standard input with Go's own mail and MIME packages, and prints what it finds as JSON.
package main

import (
	"encoding/json"
	"io"
	"log"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"strings"
	"unicode/utf8"
)

type part struct {
	Type, Charset, Encoding, Text string
	Valid                         bool
}

func main() {
	message, err := mail.ReadMessage(os.Stdin)
	check(err)
	kind, parameters, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	check(err)
	found := map[string]any{"Type": kind, "Headers": headers(message.Header), "Addresses": addresses(message.Header)}
	date, err := message.Header.Date()
	check(err)
	found["Date"] = date.UTC().Format("2006-01-02T15:04:05Z")
	parts := []part{}
	reader := multipart.NewReader(message.Body, parameters["boundary"])
	for {
		one, err := reader.NextRawPart()
		if err == io.EOF {
			break
		}
		check(err)
		parts = append(parts, read(one))
	}
	found["Parts"] = parts
	check(json.NewEncoder(os.Stdout).Encode(found))
}

func headers(header mail.Header) map[string]string {
	decoder := new(mime.WordDecoder)
	found := map[string]string{}
	for name, values := range header {
		if len(values) != 1 && name != "Received" {
			log.Fatalf("%d headers %s", len(values), name)
		}
		text, err := decoder.DecodeHeader(values[0])
		check(err)
		found[name] = text
	}
	return found
}

func addresses(header mail.Header) map[string][][2]string {
	found := map[string][][2]string{}
	for _, name := range []string{"From", "To"} {
		list, err := header.AddressList(name)
		check(err)
		for _, one := range list {
			found[name] = append(found[name], [2]string{one.Name, one.Address})
		}
	}
	return found
}

func read(one *multipart.Part) part {
	kind, parameters, err := mime.ParseMediaType(one.Header.Get("Content-Type"))
	check(err)
	encoding := one.Header.Get("Content-Transfer-Encoding")
	var body io.Reader = one
	if strings.EqualFold(encoding, "quoted-printable") {
		body = quotedprintable.NewReader(one)
	}
	text, err := io.ReadAll(body)
	check(err)
	return part{kind, parameters["charset"], encoding, string(text), utf8.Valid(text)}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
