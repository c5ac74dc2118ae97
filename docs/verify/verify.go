// Is this webhook genuine? The standard library alone.
//
// WEBHOOK_SECRET=whsec_… go run verify.go ID TIMESTAMP SIGNATURE < body
package main

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

func IsGenuine(secret, id, timestamp, signatures string, body []byte) bool {
	signed := append([]byte(id+"."+timestamp+"."), body...)
	sent, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || time.Since(time.Unix(sent, 0)).Abs() > 5*time.Minute {
		return false
	}
	for _, signature := range strings.Fields(signatures) {
		if fits(secret, signed, signature) {
			return true
		}
	}
	return false
}

func fits(secret string, signed []byte, signature string) bool {
	if encoded, ok := strings.CutPrefix(secret, "whpk_"); ok {
		key, err := base64.StdEncoding.DecodeString(encoded)
		given, isV1a := strings.CutPrefix(signature, "v1a,")
		raw, bad := base64.StdEncoding.DecodeString(given)
		return err == nil && bad == nil && isV1a && len(key) == ed25519.PublicKeySize && ed25519.Verify(key, signed, raw)
	}
	key := []byte(secret)
	if encoded, ok := strings.CutPrefix(secret, "whsec_"); ok {
		decoded, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return false
		}
		key = decoded
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(signed)
	expected := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return hmac.Equal([]byte(expected), []byte(signature))
}

func main() {
	body, err := io.ReadAll(os.Stdin)
	if err != nil || len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: verify ID TIMESTAMP SIGNATURE < body")
		os.Exit(2)
	}
	if !IsGenuine(os.Getenv("WEBHOOK_SECRET"), os.Args[1], os.Args[2], os.Args[3], body) {
		fmt.Println("NOT genuine")
		os.Exit(1)
	}
	fmt.Println("genuine")
}
