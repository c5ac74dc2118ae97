#!/bin/sh
# Is this webhook genuine? A POSIX shell and OpenSSL 3.
#
# WEBHOOK_SECRET=whsec_… sh verify.sh ID TIMESTAMP SIGNATURE < body
#
# For trying things out: while it runs, other users of the machine can read the key in the list of processes.
set -eu
id=$1 timestamp=$2 signatures=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
{ printf '%s.%s.' "$id" "$timestamp"; cat; } > "$folder/signed"

hex() { od -An -v -tx1 | tr -d ' \n'; }

v1() { # the signature of this body, made with the secret
    case $WEBHOOK_SECRET in
        whsec_*) key=$(printf %s "${WEBHOOK_SECRET#whsec_}" | openssl base64 -d -A | hex) ;;
        *) key=$(printf %s "$WEBHOOK_SECRET" | hex) ;;
    esac
    openssl mac -digest SHA256 -macopt "hexkey:$key" -binary -in "$folder/signed" HMAC | openssl base64 -A
}

fits_v1a() { # $1: a signature, checked with the public key
    { printf '\060\052\060\005\006\003\053\145\160\003\041\000'
      printf %s "${WEBHOOK_SECRET#whpk_}" | openssl base64 -d -A; } > "$folder/key"
    printf %s "$1" | openssl base64 -d -A > "$folder/signature"
    openssl pkeyutl -verify -pubin -keyform DER -inkey "$folder/key" -rawin -in "$folder/signed" \
        -sigfile "$folder/signature" > /dev/null 2>&1
}

genuine=no
case $WEBHOOK_SECRET in
    whpk_*) for one in $signatures; do
                case $one in v1a,*) fits_v1a "${one#v1a,}" && genuine=yes ;; esac
            done ;;
    *) expected=$(printf %s "v1,$(v1)" | openssl dgst -sha256)
       for one in $signatures; do # digests are compared: how long that takes says nothing about the signature
           [ "$(printf %s "$one" | openssl dgst -sha256)" = "$expected" ] && genuine=yes
       done ;;
esac
age=$(($(date +%s) - timestamp))
if [ "$genuine" = yes ] && [ "$age" -lt 300 ] && [ "$age" -gt -300 ]; then
    echo genuine
else
    echo 'NOT genuine'
    exit 1
fi
